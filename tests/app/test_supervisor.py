"""Worker processes one by one: their shares, their socket and their restarts."""

import asyncio
import logging
import os
import pickle
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.app.processes import child, supervisor
from proxy.app.processes.child import ChildProcess
from proxy.app.processes.ipc import receive, send
from proxy.app.processes.share import WorkerShare
from proxy.app.processes.supervisor import WorkerSupervisor
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.settings import Settings
from tests.support.rig import make_settings, settings_tree
from tests.support.waiting import wait_until

NOWHERE = "http://127.0.0.1:9"
WITHIN = 30.0


@pytest.mark.parametrize(("total", "of"), [(64, 1), (64, 2), (64, 3), (16, 5), (4, 4)])
def test_the_shares_add_up_to_the_limit(total: int, of: int) -> None:
    shares = [WorkerShare(number, of).portion(total) for number in range(1, of + 1)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def settings_on(folder: Path, redis_url: str) -> Settings:
    tree = settings_tree(desk=NOWHERE, witboost=NOWHERE, redis_url=redis_url, folder=folder)
    tree["worker"] = {"processes": 1, "stop_within": "1s"}
    return make_settings(folder, tree)


@pytest.fixture
async def member(tmp_path: Path, redis_url: str) -> AsyncIterator[ChildProcess]:
    """A worker process that works."""
    process = await ChildProcess.start("proxy.app.processes.main", "worker-1")
    process.send_order(pickle.dumps((settings_on(tmp_path, redis_url), WorkerShare())))
    assert await process.wait_until_working()
    yield process
    process.stop(20)
    await process._process.wait()


async def test_the_end_of_the_socket_is_what_ends_a_process(member: ChildProcess) -> None:
    """And nothing else is: as long as somebody holds the other end, it goes on."""
    held = member._writer.get_extra_info("socket").dup()
    held.setblocking(False)
    member._writer.close()
    await member._writer.wait_closed()
    os.kill(member.pid, signal.SIGTERM)
    reader, writer = await asyncio.open_unix_connection(sock=held)
    send(writer)
    assert b"approval_proxy" in (await receive(reader) or b"")

    writer.close()
    assert await asyncio.wait_for(member._process.wait(), 20) == 0


async def test_a_late_answer_is_not_taken_for_the_next_one(
    member: ChildProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = asyncio.create_task(member.wait_until_ended())
    os.kill(member.pid, signal.SIGSTOP)
    with monkeypatch.context() as patched:
        patched.setattr(child, "METRICS_TIMEOUT_SECONDS", 0.01)
        assert await member.metrics() == b""
    os.kill(member.pid, signal.SIGCONT)
    assert b"approval_proxy" in await member.metrics()
    assert not member._pings
    member.stop(20)
    assert await ending == "ended (status 0)"
    assert await member.metrics() == b""


async def test_a_process_that_does_not_end_is_killed(member: ChildProcess) -> None:
    ending = asyncio.create_task(member.wait_until_ended())
    os.kill(member.pid, signal.SIGSTOP)
    member.stop(0.01)
    assert (await ending).startswith("ended (signal 9: ")


async def test_metrics_are_not_waited_for_from_who_is_gone(member: ChildProcess) -> None:
    ending = asyncio.create_task(member.wait_until_ended())
    os.kill(member.pid, signal.SIGSTOP)
    asked = asyncio.create_task(member.metrics())
    await wait_until(lambda: bool(member._pings))
    os.kill(member.pid, signal.SIGKILL)
    assert await asked == b""
    await ending


async def test_a_stop_ends_a_process_that_is_just_being_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics()
    settings = settings_on(tmp_path, "redis://127.0.0.1:1/0")
    worker = WorkerSupervisor(settings, lambda: "", Alarms(metrics), metrics)
    start, stopping = ChildProcess.start, []

    async def interrupted(module: str, name: str) -> ChildProcess:
        stopping.append(asyncio.create_task(worker.stop(20)))
        return await start(module, name)

    monkeypatch.setattr(ChildProcess, "start", interrupted)
    await asyncio.wait_for(worker.run(), 20)
    await stopping[0]


async def test_a_process_without_a_store_says_so_and_ends(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = await ChildProcess.start("proxy.app.processes.main", "worker-1")
    process.send_order(
        pickle.dumps((settings_on(tmp_path, "redis://127.0.0.1:1/0"), WorkerShare()))
    )
    assert not await process.wait_until_working()
    assert await process.wait_until_ended() == "ended (status 1)"
    said = capfd.readouterr().err
    assert "worker-1 cannot work: Redis did not answer" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("steady", "pauses"),
    [(60.0, ["0.001", "0.002", "0.004", "0.004"]), (-1.0, ["0.001"] * 4)],
    ids=["at once", "after a long time"],
)
async def test_the_pauses_grow_until_a_process_lives_for_long(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    steady: float,
    pauses: list[str],
) -> None:
    async def fails(_module: str, _name: str) -> ChildProcess:
        raise OSError(0, "Resource temporarily unavailable")

    monkeypatch.setattr(ChildProcess, "start", fails)
    monkeypatch.setattr(supervisor, "FIRST_RESTART_SECONDS", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_RESTART_SECONDS", 0.004)
    monkeypatch.setattr(supervisor, "STABLE_SECONDS", steady)
    metrics = Metrics()
    settings = settings_on(tmp_path, "redis://127.0.0.1:1/0")
    worker = WorkerSupervisor(settings, lambda: "", Alarms(metrics), metrics)
    with caplog.at_level(logging.WARNING):
        keeping = asyncio.create_task(worker.run())
        await wait_until(lambda: len(caplog.records) >= 4)
        await worker.stop(0)
    await keeping
    how = "worker-1 cannot be started (Resource temporarily unavailable), and is started again"
    assert worker.down == {"worker-1": how}
    said = [record.getMessage() for record in caplog.records[:4]]
    assert [text.removeprefix(how).split(" s. ")[0] for text in said] == [
        f" in {it}" for it in pauses
    ]
    value = metrics.registry.get_sample_value
    assert value("approval_proxy_alarms_total", {"alarm": "worker_ended"}) == len(caplog.records)


def process_of(worker: WorkerSupervisor) -> ChildProcess | None:
    """Return the process of the first slot, once it works."""
    process = worker._slots[0]._process if worker._slots else None
    return process if process and process._working else None


@pytest.fixture
async def alive(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WorkerSupervisor]:
    """One worker process that works, supervised, and pinged after a short silence."""
    monkeypatch.setattr(child, "PING_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(supervisor, "FIRST_RESTART_SECONDS", 0.001)
    metrics = Metrics()
    worker = WorkerSupervisor(
        settings_on(tmp_path, redis_url), lambda: redis_url, Alarms(metrics), metrics
    )
    keeping = asyncio.create_task(worker.run())
    await wait_until(lambda: process_of(worker) is not None, within=WITHIN)
    yield worker
    await worker.stop(20)
    await keeping


async def test_a_process_that_hangs_is_killed_and_another_one_takes_its_place(
    alive: WorkerSupervisor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = process_of(alive)
    assert hanging is not None
    os.kill(hanging.pid, signal.SIGSTOP)
    assert await asyncio.wait_for(alive.metrics(), WITHIN) == {"worker-1": b""}
    assert not alive.down
    with monkeypatch.context() as patched:  # the next one may take its time to begin
        patched.setattr(child, "HANG_TIMEOUT_SECONDS", 0.5)
        await wait_until(lambda: bool(alive.down), within=WITHIN)

    how = "worker-1 did not answer for 0.5 s, and was killed (signal 9: Killed), and is started"
    (alarm,) = [it for it in caplog.records if it.__dict__.get("alarm") == "worker_ended"]
    assert alarm.getMessage().startswith(how)
    await wait_until(lambda: process_of(alive) not in {None, hanging}, within=WITHIN)
    assert not alive.down
    assert b"approval_proxy" in (await alive.metrics())["worker-1"]


async def test_a_process_that_hangs_for_less_goes_on(alive: WorkerSupervisor) -> None:
    """It stands still for ten times as many pings as it takes to be killed above."""
    process = process_of(alive)
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    await wait_until(lambda: len(process._pings) >= 100, within=WITHIN)
    os.kill(process.pid, signal.SIGCONT)
    await wait_until(lambda: not process._pings, within=WITHIN)
    assert process_of(alive) is process
    assert not alive.down


async def test_a_process_that_hangs_before_it_begins_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "PING_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(child, "HANG_TIMEOUT_SECONDS", 0.1)
    process = await ChildProcess.start(
        "proxy.app.processes.main", "worker-1"
    )  # it waits for its order
    assert not await process.wait_until_working()
    assert (await process.wait_until_ended()).startswith(
        "did not answer for 0.1 s, and was killed (signal 9:"
    )
