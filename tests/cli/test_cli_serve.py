"""The real command as a process of its own: start, stop, and every way of refusing to start."""

import asyncio
import json
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from redis.asyncio import Redis

from proxy.store.requests import RequestStore
from proxy.web.auth import hash_key
from tests.store.test_steps import admission
from tests.support.certificates import Authority
from tests.support.rig import API_KEY, GRANT, OPERATOR_KEY, settings_tree
from tests.support.waiting import wait_until

NOWHERE = "http://127.0.0.1:9"


def tree(folder: Path, redis_url: str | None, **top: Any) -> dict[str, Any]:
    return settings_tree(desk=NOWHERE, witboost=NOWHERE, redis_url=redis_url, folder=folder, **top)


@asynccontextmanager
async def started(
    folder: Path, settings: Mapping[str, Any], *options: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(dict(settings)))
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--config", str(config), *options),
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def logged(program: asyncio.subprocess.Process, message: str) -> Mapping[str, Any]:
    """Return the first log line whose message begins so."""
    assert program.stderr is not None
    async with asyncio.timeout(20):
        async for line in program.stderr:
            found: dict[str, Any] = json.loads(line)
            if found["message"].startswith(message):
                return found
    raise AssertionError(f"no log line says {message!r}")


def command_line(pid: int) -> str:
    """Return what everybody on the machine can see of a process, where the system has /proc."""
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_text() if file.exists() else ""


async def refusal(folder: Path, settings: Mapping[str, Any], *options: str) -> str:
    """Return what a start that must fail says on standard error."""
    async with started(folder, settings, *options) as program:
        assert program.stderr is not None
        said = (await asyncio.wait_for(program.stderr.read(), 20)).decode()
        assert await program.wait() == 1
        assert "Traceback" not in said
        return said


async def test_it_serves_with_the_embedded_store_and_stops_on_sigterm(tmp_path: Path) -> None:
    async with started(tmp_path, tree(tmp_path, None)) as program:
        port = (await logged(program, "Listening"))["port"]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/readyz") as answer:
                assert answer.status == 200
            call = {"respondToUrl": f"{NOWHERE}/api/actionHandler/1", "fields": dict(GRANT)}
            headers = {
                "X-API-Key": API_KEY,
                "X-Request-ID": "6f1c1b0e-0000-4000-8000-000000000000",
            }
            async with session.post("/", json=call, headers=headers) as answer:
                assert answer.status == 202
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), 25) == 0


async def test_calls_and_steps_that_hang_are_given_one_time_to_end_in(tmp_path: Path) -> None:
    """A caller who stops in the middle of a body, and a desk that never answers: not in turn."""
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        await reader.read()
        writer.close()

    within = 4.0
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        desk = "http://{}:{}".format(*server.sockets[0].getsockname())
        settings = settings_tree(
            desk=desk,
            witboost=NOWHERE,
            redis_url=None,
            folder=tmp_path,
            worker={"stop_within": f"{within:.0f}s"},
        )
        settings["ticket_systems"]["desk"] |= {"deadline": "30s"}
        async with started(tmp_path, settings) as program:
            port = (await logged(program, "Listening"))["port"]
            headers = {
                "X-API-Key": API_KEY,
                "X-Request-ID": "6f1c1b0e-0000-4000-8000-000000000000",
            }
            call = {"respondToUrl": f"{NOWHERE}/api/actionHandler/1", "fields": dict(GRANT)}
            async with (
                aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
                session.post("/", json=call, headers=headers) as answer,
            ):
                assert answer.status == 202
            await asyncio.wait_for(reached.wait(), 20)
            answers, caller = await asyncio.open_connection("127.0.0.1", port)
            lines = ["POST / HTTP/1.1", "Host: x", f"X-API-Key: {API_KEY}", "Content-Length: 9"]
            caller.write("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
            await asyncio.wait_for(answers.readline(), 20)  # it is being read
            began = asyncio.get_running_loop().time()
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 25) == 0
            assert within * 0.9 < asyncio.get_running_loop().time() - began < within * 1.75
            caller.close()


async def test_a_202_survives_a_sigkill_of_program_and_store(tmp_path: Path) -> None:
    settings = tree(tmp_path, None)
    url = f"{NOWHERE}/api/actionHandler/1"
    headers = {"X-API-Key": API_KEY, "X-Request-ID": "6f1c1b0e-0000-4000-8000-000000000000"}
    answers = []
    for _ in range(2):
        async with started(tmp_path, settings) as program:
            port = (await logged(program, "Listening"))["port"]
            async with (
                aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
                session.post(
                    "/", json={"respondToUrl": url, "fields": dict(GRANT)}, headers=headers
                ) as answer,
            ):
                answers.append(await answer.json())
            program.kill()
            await program.wait()
    assert answers[0] == answers[1], "the second program must know the first one's request"


async def test_a_role_of_its_own_needs_a_shared_store(tmp_path: Path) -> None:
    assert "store.redis_url" in await refusal(tmp_path, tree(tmp_path, None), "--role", "web")


async def test_a_worker_of_its_own_says_how_it_is(tmp_path: Path, redis_url: str) -> None:
    settings = tree(tmp_path, redis_url, listen={"worker_port": 0})
    async with started(tmp_path, settings, "--role", "worker") as program:
        port = (await logged(program, "Listening"))["port"]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path, status in {"/livez": 200, "/readyz": 200, "/metrics": 200, "/": 404}.items():
                async with session.get(path) as answer:
                    assert answer.status == status


@pytest.mark.parametrize("role", ["web", "worker"])
async def test_a_role_has_worker_processes_if_it_works(
    tmp_path: Path, redis_url: str, role: str
) -> None:
    settings = tree(tmp_path, redis_url, listen={"worker_port": 0}, worker={"processes": 1})
    async with started(tmp_path, settings, "--role", role) as program:
        port = (await logged(program, "Listening"))["port"]
        if role == "worker":
            await logged(program, "worker-1 works")
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
            session.get("/metrics") as answer,
        ):
            text = await answer.text()
        assert ('process="worker-1"' in text) == (role == "worker")
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), 25) == 0


@pytest.mark.parametrize("processes", [0, 1])
async def test_what_sounds_in_any_process_is_shown_to_operators(
    tmp_path: Path, redis_url: str, processes: int
) -> None:
    routes = [{"name": "default", "decide": "hold", "reason": "A person must look"}]
    settings = tree(tmp_path, redis_url, worker={"processes": processes}, routes=routes)
    async with started(tmp_path, settings) as program:
        port = (await logged(program, "Listening"))["port"]
        headers = {"X-API-Key": API_KEY, "X-Request-ID": "d1d2c6a0-3c0e-4c2e-9f55-0d6e5a3c1b2a"}
        body = {"respondToUrl": f"{NOWHERE}/api/actionHandler/1", "fields": GRANT}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.post("/", json=body, headers=headers) as answer:
                held = (await answer.json())["hookInfo"]["correlationId"]

            async def shown() -> bool:
                key = {"X-API-Key": OPERATOR_KEY}
                async with session.get("/api/alarms", headers=key) as answer:
                    rows = (await answer.json())["alarms"]
                found = [it["correlationId"] for it in rows if it["alarm"] == "request_held"]
                return found == [held]

            await wait_until(shown, within=30)


async def test_an_occupied_port_is_named(tmp_path: Path, redis_url: str) -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        settings = tree(tmp_path, redis_url, listen={"port": port})
        assert f"127.0.0.1:{port}" in await refusal(tmp_path, settings)


async def test_a_store_that_does_not_answer_is_named(tmp_path: Path) -> None:
    said = await refusal(tmp_path, tree(tmp_path, "redis://127.0.0.1:1/0"))
    assert said.startswith("approval-proxy: Redis did not answer CONFIG GET (ConnectionError")
    assert "check the server" in said


async def test_settings_that_drop_a_system_with_open_requests_are_refused(
    tmp_path: Path, redis_url: str, redis: Redis
) -> None:
    settings = tree(tmp_path, redis_url)
    store = RequestStore(redis, namespace=settings["store"]["namespace"], partitions=4)
    await store.admit(admission())
    settings["ticket_systems"] = {"other": settings["ticket_systems"]["desk"]}
    settings["routes"] = [{"name": "default", "system": "other"}]
    said = await refusal(tmp_path, settings)
    assert "ticket_systems.desk is gone, but has 1 open requests" in said


async def test_another_number_of_partitions_is_refused(tmp_path: Path, redis_url: str) -> None:
    settings = tree(tmp_path, redis_url)
    async with started(tmp_path, settings, "--role", "worker") as program:
        await logged(program, "Serving")
    settings["store"]["partitions"] = 5
    assert "store.partitions: the store has 4" in await refusal(tmp_path, settings)


@pytest.mark.parametrize("choice", ["warn", "refuse"])
async def test_a_server_that_may_lose_data_is_an_alarm_or_a_refusal(
    tmp_path: Path, redis_url: str, redis: Redis, choice: str
) -> None:
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        settings = tree(tmp_path, redis_url)
        settings["store"]["dangerous"] = choice
        if choice == "refuse":
            assert "maxmemory-policy is allkeys-lru" in await refusal(tmp_path, settings)
        else:
            async with started(tmp_path, settings) as program:
                line = await logged(program, "Redis maxmemory-policy")
                assert line["alarm"] == "store_dangerous"
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")


async def test_no_secret_is_in_the_log_or_the_command_line(tmp_path: Path) -> None:
    settings = tree(tmp_path, None)
    canary = "canary-7f3a91"
    settings["ticket_systems"]["desk"]["auth"]["client_secret"] = canary
    settings["operators"]["clients"]["alice"]["keys"] = [hash_key(canary)]
    async with started(tmp_path, settings) as program:
        await logged(program, "Listening")
        assert canary not in command_line(program.pid)
        program.send_signal(signal.SIGTERM)
        assert program.stderr is not None
        assert canary.encode() not in await program.stderr.read()
        assert await asyncio.wait_for(program.wait(), 25) == 0


async def test_parts_listen_apart_and_speak_tls_where_they_are_told(tmp_path: Path) -> None:
    authority = Authority.found(tmp_path)
    pair = authority.server(tmp_path)
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    here = {"host": "127.0.0.1", "port": 0}
    listen = {**here, "events": {**here, "tls": tls}, "operators": here}
    settings = tree(tmp_path, None, listen=listen)
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))
    async with started(tmp_path, settings) as program:
        ports = [(await logged(program, "Listening"))["port"] for _ in range(3)]
        hooks, events, operators = (
            f"http://127.0.0.1:{ports[0]}",
            f"https://127.0.0.1:{ports[1]}",
            f"http://127.0.0.1:{ports[2]}",
        )
        found = {}
        async with aiohttp.ClientSession() as session:
            for place in (hooks, events, operators):
                for path in ("/approval-requests", "/ticket-events/desk", "/api/bulk/retry"):
                    async with session.post(place + path, ssl=trusting) as answer:
                        found[place, path] = answer.status
            async with session.get(f"{events}/readyz", ssl=trusting) as answer:
                assert answer.status == 404
            async with session.get(f"{operators}/metrics") as answer:
                assert answer.status == 200
        assert [key for key, status in found.items() if status == 401] == [
            (hooks, "/approval-requests"),
            (events, "/ticket-events/desk"),
            (operators, "/api/bulk/retry"),
        ]
        assert set(found.values()) == {401, 404}
        program.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(program.wait(), 25) == 0
