"""Each simulator runs as a process of its own and leaves its journal behind."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from proxy.simulators.journal import read_journal
from proxy.simulators.serve import arguments, check_of, simulator_of
from tests.support.demo_program import CLIENT, EVENT_SECRET, Program

ENVIRONMENT = {
    "DESK_CLIENT_ID": CLIENT[0],
    "DESK_CLIENT_SECRET": CLIENT[1],
    "DESK_EVENT_SECRET": EVENT_SECRET,
    "WITBOOST_CALLBACK_SECRET": "secret",
}


@asynccontextmanager
async def served(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy.demo.serve",
        *words,
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        yield process, orjson.loads(line)["url"]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_desk_process_journals_what_survives_its_death(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    file = tmp_path / "desk.jsonl"
    async with served("desk", "--journal", str(file), "--auto-decide", "rejected") as (
        process,
        url,
    ):
        program = Program(url, http)
        await program.fetch_token()
        await program.create("c-1")
        process.kill()
        await process.wait()
    kinds = [(entry["kind"], entry.get("correlation_id")) for entry in read_journal(file)]
    assert kinds == [("token", None), ("created", "c-1"), ("status", "c-1")]


async def test_a_witboost_process_ends_on_sigterm(http: aiohttp.ClientSession) -> None:
    async with served("witboost", "--adopt-unknown-hooks") as (process, url):
        async with http.put(f"{url}/api/actionHandler/h-1", json={"status": "OK"}) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


def test_a_missing_secret_is_named() -> None:
    with pytest.raises(KeyError, match="DESK_CLIENT_ID"):
        simulator_of(arguments().parse_args(["desk"]), {})


@pytest.mark.parametrize("credential", ["none", "static_bearer", "shared_secret", "access_token"])
def test_callbacks_prove_the_chosen_credential(credential: str) -> None:
    check = check_of(credential, ENVIRONMENT)
    assert check.admits("Bearer wrong", now=0) == (credential == "none")
    assert check.admits("Bearer secret", now=0) == (credential in ("none", "static_bearer"))
