"""Worker processes under the real command: they share the work, come back, and leave with it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from proxy.demo.verdict import judge
from proxy.simulators.desk.server import Desk
from proxy.simulators.faults import Fault
from proxy.simulators.ticket_system import TicketSystemOptions
from proxy.simulators.witboost import HookCall, Witboost
from proxy.store.client.connections import connect
from proxy.store.embedded.server import EmbeddedServer
from proxy.store.requests import RequestStore
from tests.support.faults.soak import free_ports
from tests.support.rig import API_KEY, CLIENT_SECRET, EVENT_SECRET, GRANT, settings_tree
from tests.support.waiting import wait_until

WITHIN = 30.0
WORKER = {"processes": 2, "concurrency": 2, "lease": "4s", "margin": "1s", "stop_within": "500ms"}


@dataclass
class Served:
    """The command, with what it has said so far."""

    program: asyncio.subprocess.Process
    log: Path
    url: str

    def said(self, message: str) -> list[Mapping[str, Any]]:
        """Return the lines whose message begins so."""
        whole = self.log.read_text().rpartition("\n")[0]  # the last line may be half written
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if line["message"].startswith(message)]

    async def says(self, message: str, times: int = 1) -> Mapping[str, Any]:
        """Return the line that says so for that time, once it is there."""
        await wait_until(lambda: len(self.said(message)) >= times, within=WITHIN, what=message)
        return self.said(message)[times - 1]

    async def members(self) -> list[int]:
        """Return the process ids of its worker processes, once all of them work."""
        return [(await self.says(f"worker-{number} works"))["pid"] for number in (1, 2)]

    async def page(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return await answer.text()

    async def stopped(self) -> int:
        return await asyncio.wait_for(self.program.wait(), WITHIN)


@dataclass
class World:
    """What is around the command: its two neighbours, and where it keeps everything."""

    desk: Desk
    witboost: Witboost
    folder: Path
    namespace: str
    port: int

    @asynccontextmanager
    async def serving(self, log: str = "first.log") -> AsyncIterator[Served]:
        """Start the command in a process group of its own, as a shell does."""
        file = self.folder / log
        with file.open("wb") as stderr:
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", "serve"),
                *("--config", str(self.folder / "settings.yaml")),
                stderr=stderr,
                start_new_session=True,
            )
        served = Served(program, file, f"http://127.0.0.1:{self.port}")
        self.witboost.hook_url = f"{served.url}/approval-requests"
        try:
            await served.says("Listening")
            yield served
        finally:
            if program.returncode is None:
                program.kill()
            await program.wait()

    async def ask(self, count: int) -> list[HookCall]:
        calls = [await self.witboost.ask(dict(GRANT)) for _ in range(count)]
        assert {call.status for call in calls} == {202}
        return calls

    async def all_told(self, calls: list[HookCall]) -> None:
        """Return when witboost has the one status of each, and the desk one ticket each."""
        for call in calls:
            await self.witboost.callback(call.hook_id, within=WITHIN)
        verdict = judge(self.desk.journal.entries, self.witboost.journal.entries)
        assert verdict.problems == ()
        assert len(verdict.rows) == len(calls)

    async def holds(self, count: int) -> None:
        """Return when so many calls hang at the desk."""
        await wait_until(lambda: len(self.desk.journal.of("fault")) >= count, within=WITHIN)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    account = TicketSystemOptions(
        client_id="proxy", client_secret=CLIENT_SECRET, event_secret=EVENT_SECRET
    )
    async with (
        Desk(**account, auto_decide=("approved", "rejected")) as desk,
        Witboost(api_key=API_KEY) as witboost,
    ):
        (port,) = free_ports(1)
        tree = settings_tree(
            desk=desk.url,
            witboost=witboost.url,
            redis_url=None,
            folder=tmp_path,
            worker=WORKER,
            listen={"port": port},
        )
        tree["routes"][0]["poll"] = {"first": "100ms", "slowest": "1s"}
        tree["ticket_systems"]["desk"]["settle"] = "500ms"
        tree["witboost"]["main"]["callback"] = {"deadline": "2s"}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump(tree))
        yield World(desk, witboost, tmp_path, tree["store"]["namespace"], port)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pids: list[int]) -> None:
    await wait_until(lambda: not any(map(exists, pids)), within=WITHIN, what=f"{pids} are gone")


async def test_two_processes_share_work_and_token_and_end_with_the_first(world: World) -> None:
    async with world.serving() as served:
        members = await served.members()
        hanging = world.desk.switch_on(Fault("create", "hang", times=2))
        calls = await world.ask(6)
        await world.holds(2)  # each process has room for one: so both of them work
        hanging.off()
        await world.all_told(calls)
        assert [entry["outcome"] for entry in world.desk.journal.of("token")] == ["issued"]

        text = await served.page("/metrics")
        for name in ("worker-1", "worker-2"):
            assert f'approval_proxy_worker_up{{process="main",worker="{name}"}} 1.0' in text
            assert f'approval_proxy_step_seconds_count{{process="{name}",state="received"}}' in text
        assert text.count("# TYPE approval_proxy_step_seconds histogram") == 1
        assert json.loads(await served.page("/readyz")) == {"status": "ready", "reasons": []}

        for pid in members:
            os.kill(pid, signal.SIGTERM)  # as whoever ends a whole group does; it is not their word
        assert (await served.page("/metrics")).count("} 1.0") > 0
        os.killpg(served.program.pid, signal.SIGINT)  # Ctrl-C in a terminal
        assert await served.stopped() == 0
        await gone(members)
        assert not served.said("worker-1 ended")
        assert "Traceback" not in served.log.read_text()
        assert {line["process"] for line in served.said("")} == {"main", "worker-1", "worker-2"}


async def test_a_killed_process_loses_nothing_and_comes_back(world: World) -> None:
    async with world.serving() as served:
        members = await served.members()
        hanging = world.desk.switch_on(Fault("create", "hang", times=2, after_effect=True))
        calls = await world.ask(4)
        await world.holds(2)
        for pid in members:
            os.kill(pid, signal.SIGKILL)
        alarm = await served.says("worker-1 ended (signal 9: ")
        assert alarm["alarm"] == "worker_ended"
        await served.says("worker-2 ended (signal 9: ")
        ready = json.loads(await served.page("/readyz"))
        assert (ready["status"], len(ready["reasons"])) == ("degraded", 2)
        hanging.off()
        calls += await world.ask(1)  # who accepts lives

        await served.says("worker-1 works", times=2)
        await served.says("worker-2 works", times=2)
        assert json.loads(await served.page("/readyz"))["status"] == "ready"
        await world.all_told(calls)
        served.program.send_signal(signal.SIGTERM)
        assert await served.stopped() == 0


async def test_what_is_held_at_the_end_is_given_back(world: World) -> None:
    """The desk hangs for longer than a stop may take; what hung is due now, not after its lease."""
    async with world.serving() as served:
        members = await served.members()
        hanging = world.desk.switch_on(Fault("create", "hang", times=2))
        calls = await world.ask(2)
        await world.holds(2)
        served.program.send_signal(signal.SIGTERM)
        assert await served.stopped() == 0
        await gone(members)
    hanging.off()
    async with await EmbeddedServer.start(world.folder / "store") as server:
        redis = connect(server.url)
        store = RequestStore(redis, namespace=world.namespace, partitions=4)
        now = await store.now()
        due = [await redis.zcount(f"{tag}:due", "-inf", now) for tag in store.keys.tags()]
        await redis.aclose()
        assert sum(due) == len(calls)
    async with world.serving("second.log"):
        await world.all_told(calls)


async def test_a_killed_program_leaves_no_process_and_nothing_is_in_the_way(world: World) -> None:
    """The worker processes hang when their program is killed: they hold neither port nor lock."""
    async with world.serving() as served:
        members = await served.members()
        world.desk.switch_on(Fault("create", "hang", times=2, after_effect=True))
        calls = await world.ask(3)
        await world.holds(2)
        for pid in members:
            os.kill(pid, signal.SIGSTOP)
        served.program.kill()
        await served.stopped()
    try:
        async with world.serving("second.log") as second:
            for pid in members:
                os.kill(pid, signal.SIGCONT)
            await gone(members)
            await world.all_told(calls)
            second.program.send_signal(signal.SIGTERM)
            assert await second.stopped() == 0
    finally:
        for pid in filter(exists, members):
            os.kill(pid, signal.SIGKILL)
