"""No secret leaks: the scan that covers every test, and servers that send secrets back."""

import asyncio
import base64
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.domain.models import State
from proxy.simulators.authorization import ISSUED_PREFIX
from proxy.simulators.desk.server import Desk
from proxy.simulators.witboost import HookCall, Witboost
from proxy.store.requests import RequestStore
from tests.conftest import OpenRig
from tests.support.canaries import CANARIES, CLIENT_SECRET, CanaryLog, found_in, stored, watched
from tests.support.rig import OPERATOR_KEY, Rig, desk_tree, get_json, settings_tree

ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("secret", CANARIES)
@pytest.mark.parametrize(
    "spelt",
    [
        str,
        quote_plus,
        json.dumps,
        lambda secret: base64.b64encode(f"proxy:{secret}".encode()).decode(),
        lambda secret: base64.b64encode(f"a:{secret} and more".encode()).decode(),
        lambda secret: base64.b64encode(f"it:{secret}".encode()).decode(),
    ],
    ids=["plain", "form", "json", "basic", "base64 inside", "base64 end"],
)
def test_a_secret_is_recognised_in_every_spelling(secret: str, spelt: Callable[[str], str]) -> None:
    assert found_in(f"before {spelt(secret)} after".encode())
    assert not found_in(b"before and after, with a simulated desk and a client of its own")


def test_a_secret_in_the_log_is_found(canary_log: CanaryLog) -> None:
    log = logging.getLogger("proxy.something")
    log.info("the answer", extra={"token": f"{ISSUED_PREFIX}access-x"})
    log.error("it failed", exc_info=ValueError(CLIENT_SECRET))

    assert len(canary_log.found) == 2
    canary_log.found.clear()


async def test_a_secret_in_an_answer_is_found() -> None:
    async def leak(_request: web.Request) -> web.Response:
        return web.Response(text=f"token {ISSUED_PREFIX}access-x")

    app = watched(web.Application())
    app.router.add_get("/", leak)
    async with TestClient(TestServer(app)) as client:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.get("/")


async def test_a_secret_in_the_store_is_found(store: RequestStore) -> None:
    key = store.keys.shared("meta")
    await store.client.hset(key, "token", CLIENT_SECRET)

    leaks = [
        name async for name, value in stored(store.client, store.keys.namespace) if found_in(value)
    ]

    assert leaks == [key.encode()]


@asynccontextmanager
async def reflecting(status: int) -> AsyncIterator[str]:
    """A server that sends back everything it receives, in several spellings."""

    async def reflect(request: web.Request) -> web.Response:
        sent = f"{dict(request.headers)} {await request.text()}"
        tree = {"error": "invalid_request", "error_description": sent, "message": sent}
        return web.json_response(tree, status=status, headers={"X-Sent": quote_plus(sent)[:2000]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", reflect)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 500])
@pytest.mark.parametrize("what", ["tokens", "tickets", "callbacks"])
async def test_secrets_that_a_server_sends_back_do_not_leak(
    what: str, status: int, open_rig: OpenRig
) -> None:
    """conftest searches the log, responses, metrics and the whole store."""
    async with reflecting(status) as mirror:

        def declare(url: str) -> dict[str, Any]:
            tree = desk_tree(url)
            if what == "tokens":
                tree["auth"]["token_url"] = f"{mirror}/token"
            elif what == "tickets":
                tree["base_url"] = mirror
            return tree

        @asynccontextmanager
        async def instance(_witboost: Witboost) -> AsyncIterator[dict[str, Any]]:
            yield {
                "callback_urls": [f"{mirror}/"],
                "credential": {"kind": "static_bearer", "token": f"{ISSUED_PREFIX}bearer"},
            }

        async with open_rig(declare=declare, instance=instance) as rig:
            call = await rig.ask(respond_to=f"{mirror}/hook")
            await rig.work()
            if what == "callbacks":
                [ticket] = rig.tickets()
                rig.desk.decide(ticket["id"], "approved")
            for _ in range(4):
                await rig.work(after=60_000)

            assert await rig.state(call) is not State.DONE
            assert mirror.encode() in (await get_page(rig, call)), "nothing was sent there"


async def get_page(rig: Rig, call: HookCall) -> bytes:
    """Return the operator API's view of a request and of the whole program."""
    _, view = await get_json(f"{rig.url}/api/requests/{call.correlation_id}", OPERATOR_KEY)
    _, status = await get_json(f"{rig.url}/api/status", OPERATOR_KEY)
    return json.dumps([view, status]).encode()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_no_process_shows_a_secret_in_its_title_or_to_its_children(tmp_path: Path) -> None:
    """Every user can read titles; environments of child processes must not hold a secret."""
    async with Desk(client_id="proxy", client_secret=CLIENT_SECRET, event_secret="") as desk:
        tree = settings_tree(
            desk=desk.url, witboost="http://127.0.0.1:9", redis_url=None, folder=tmp_path
        )
        tree["ticket_systems"]["desk"]["auth"]["client_secret"] = {"env": "DESK_SECRET"}
        config = tmp_path / "approval-proxy.yaml"
        config.write_text(yaml.safe_dump(tree))
        serving = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            env={**os.environ, "DESK_SECRET": CLIENT_SECRET},
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert serving.stderr is not None
        try:
            async with asyncio.timeout(30):
                while b'"worker-1 works"' not in await serving.stderr.readline():
                    pass
            family = [serving.pid, *_descendants(serving.pid)]
            assert len(family) > 3, "guardian, server or worker process are missing"
            for pid in family:
                assert not found_in(_of(pid, "cmdline"))
            for pid in family[1:]:
                assert not found_in(_of(pid, "environ"))
        finally:
            serving.terminate()
            await serving.wait()


def _of(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def _descendants(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from _descendants(int(child))
