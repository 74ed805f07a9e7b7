"""The audit: who did what, in the same step as the change, and written down outside Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import orjson
import pytest

from proxy.audit.denied_calls import DeniedCalls
from proxy.audit.files import Folder, files_in
from proxy.audit.sealer import LEASE, AuditKeys, Sealer, snapshot_name
from proxy.cli.commands.audit import examine
from proxy.domain.schedule import DAY, HOUR
from proxy.errors import ConfigurationError, StoreUnavailableError
from proxy.observability.alarms import Alarm
from proxy.security.key_ring import new_key
from proxy.store.audit_streams import AuditStreams, read_snapshot
from tests.conftest import OpenRig
from tests.support.manual_clock import ManualClock
from tests.support.rig import OPERATOR_KEY, Rig, post_json
from tests.support.waiting import wait_until

SECOND = 1_000
KEYS = {"keys": [{"id": "k1", "key": new_key()}], "index_key": new_key()}


@pytest.fixture
async def rig(open_rig: OpenRig) -> AsyncIterator[Rig]:
    async with open_rig(encryption=KEYS) as rig:
        yield rig


def folder_of(rig: Rig) -> Path:
    return rig.program.settings.audit_folder


def lines_in(folder: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for file in files_in(folder) for line in file.lines()]


def entries_in(folder: Path) -> list[dict[str, Any]]:
    return [line for line in lines_in(folder) if "entry" in line]


async def approved(rig: Rig) -> str:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[-1]["id"], "approved", by="olga")
    await rig.desk.events_sent()
    await rig.work(after=2 * SECOND)
    return str(call.correlation_id)


async def test_the_audit_says_what_the_history_says_and_who(rig: Rig) -> None:
    """One truth: the history's lines, byte for byte, with the admission before them."""
    request = await approved(rig)
    await rig.program.sealer().seal()
    lines = entries_in(folder_of(rig))
    told = [it["entry"] for it in lines if it["entry"]["event"] != "Hinted"]
    assert {it["request"] for it in lines} == {request}
    assert told == list(await rig.program.store.history(request))
    assert [it["event"] for it in told] == [
        "Admitted",
        "Sending",
        "Opened",
        "Decided",
        "CalledBack",
    ]
    assert told[0]["by"] == "main/witboost"
    assert told[3]["by"] == "olga"


async def test_events_operators_and_expiry_are_in_it(rig: Rig) -> None:
    call = await rig.ask()
    await rig.work()
    rig.desk.decide(rig.tickets()[0]["id"], "in_review")
    await rig.desk.events_sent()
    url = f"{rig.url}/api/requests/{call.correlation_id}/cancel"
    status, _ = await post_json(url, OPERATOR_KEY, {"reason": "not wanted any more"})
    assert status == 200
    await rig.work()
    await rig.work(after=91 * DAY)
    await rig.program.sealer().seal()
    told = {line["entry"]["event"]: line["entry"] for line in entries_in(folder_of(rig))}
    assert told["Hinted"]["by"] == "desk"
    assert told["Decided"]["by"] == "operator alice"
    assert told["Decided"]["comment"] == "not wanted any more"
    assert told["Expired"]["state"] == "done"


async def test_a_line_holds_the_record_encrypted(rig: Rig) -> None:
    """What rebuilds a record is in the files, and only the key ring opens it."""
    call = await rig.ask()
    await rig.program.sealer().seal()
    (line,) = entries_in(folder_of(rig))
    assert "john.doe" not in orjson.dumps(lines_in(folder_of(rig))).decode()
    ring = rig.program.audit_keys.ring
    assert ring is not None
    place = snapshot_name(str(call.correlation_id))
    whole = orjson.loads(ring.open(line["sealed"].encode(), name=place))
    entry = read_snapshot(rig.program.store, whole)
    assert entry.record.id == call.correlation_id
    assert b"john.doe_company.com" in entry.payload
    with pytest.raises(ConfigurationError, match="changed or moved"):  # to another request's line
        ring.open(line["sealed"].encode(), name=snapshot_name("ar1"))


async def test_what_is_sealed_leaves_redis(rig: Rig) -> None:
    await approved(rig)
    waiting = await rig.program.streams.waiting()
    assert waiting >= 5
    assert await rig.program.sealer().seal() == waiting
    assert await rig.program.streams.waiting() == 0
    assert await rig.program.sealer().seal() == 0


async def test_many_refused_calls_are_one_entry_with_samples(rig: Rig) -> None:
    refusals = DeniedCalls(rig.program.streams, rig.program.metrics)
    for number in range(1_000):
        refusals.count("/", remote=f"203.0.113.{number % 250}", path="/", error="no key")
    await refusals.flush()
    await refusals.flush()
    await rig.program.sealer().seal()
    (line,) = entries_in(folder_of(rig))
    assert (line["entry"]["event"], line["entry"]["count"]) == ("Refused", 1_000)
    assert len(line["entry"]["samples"]) == 3


async def test_a_call_without_a_key_is_counted_when_the_listener_ends(open_rig: OpenRig) -> None:
    async with open_rig(encryption=KEYS) as rig:
        status, _ = await post_json(rig.url, "ap_wrong", {})
        assert status == 401
        program = rig.program
    # the rig's listener has ended; its store is still there
    async with open_rig(encryption=KEYS, store={"namespace": program.store.keys.namespace}) as rig:
        (entry,) = await rig.program.streams.unsealed({}, limit=10)
        assert orjson.loads(entry.line)["samples"][0]["remote"] == "127.0.0.1"


async def test_changed_credentials_are_named_once(rig: Rig) -> None:
    credentials = rig.program.credentials()
    assert credentials is not None
    found = {"desk.secret": "1", "clients.alice": "2"}
    credentials.read = lambda: dict(found)
    await credentials.look()
    await credentials.look()
    found |= {"desk.secret": "9"}
    del found["clients.alice"]
    await credentials.look()
    await rig.program.sealer().seal()
    told = [line["entry"] for line in entries_in(folder_of(rig))]
    assert [(it.get("added"), it.get("changed"), it.get("removed")) for it in told] == [
        (["clients.alice", "desk.secret"], None, None),
        (None, ["desk.secret"], ["clients.alice"]),
    ]


async def test_the_names_are_those_of_the_settings(rig: Rig) -> None:
    credentials = rig.program.credentials()
    assert credentials is not None
    await credentials.look()
    await rig.program.sealer().seal()
    (line,) = entries_in(folder_of(rig))
    assert "ticket_systems.desk.auth.client_secret.0" in line["entry"]["added"]
    assert "operators.clients.alice.keys" in line["entry"]["added"]


async def test_one_process_seals_at_a_time(rig: Rig, clock: ManualClock) -> None:
    first, second = rig.program.sealer(), rig.program.sealer()
    await rig.ask()
    assert await first.seal() == 1
    await rig.ask()
    assert await second.seal() == 0, "the first one has the lease"
    clock.advance(LEASE + 1)
    assert await second.seal() == 1
    await second.close()
    await rig.ask()
    assert await first.seal() == 1, "whoever closes lets the next go on at once"
    assert not examine(folder_of(rig)).problems


async def test_a_sealer_that_froze_is_refused_and_its_lines_are_explained(
    rig: Rig, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wrote, froze before Redis knew, and another machine sealed the same entries again."""
    frozen, other = rig.program.sealer(), rig.program.sealer()
    other._sink = Folder(tmp_path / "other")
    await rig.ask()
    await frozen.seal()
    await rig.ask()
    advance, once = AuditStreams.advance, iter([True])

    async def freeze(streams: AuditStreams, *how: Any) -> bool:
        if next(once, False):
            clock.advance(LEASE + 1)
            assert await other.seal() == 1
        return await advance(streams, *how)

    monkeypatch.setattr(AuditStreams, "advance", freeze)
    await frozen.seal()
    for file in files_in(tmp_path / "other"):
        file.path.rename(folder_of(rig) / file.path.name)
    report = examine(folder_of(rig))
    assert not report.problems
    assert "sealed again" in report.notes[0]


async def test_a_sealer_that_died_before_redis_knew_seals_nothing_twice(
    rig: Rig, clock: ManualClock
) -> None:
    await approved(rig)
    waiting = await rig.program.streams.waiting()
    died = StoreUnavailableError("the process ends here")
    with (
        patch.object(AuditStreams, "advance", side_effect=died),
        pytest.raises(StoreUnavailableError),
    ):
        await rig.program.sealer().seal()
    clock.advance(LEASE + 1)
    await rig.program.sealer().seal()
    assert len(entries_in(folder_of(rig))) == waiting
    assert not rig.program.metrics.alarms.labels(Alarm.STORE_BEHIND_AUDIT)._value.get()
    assert not examine(folder_of(rig)).problems
    assert await rig.program.streams.waiting() == 0


async def test_a_store_that_forgot_what_is_sealed_is_an_alarm(rig: Rig, clock: ManualClock) -> None:
    """As an older snapshot has it: what was sealed never happened, and the files know better."""
    await rig.ask()
    await rig.program.sealer().seal()
    client: Any = rig.program.store.client
    await client.delete(*rig.program.streams.streams.values(), rig.program.streams._key)
    clock.advance(LEASE + 1)
    alarms = rig.program.metrics.alarms.labels(Alarm.STORE_BEHIND_AUDIT)
    assert alarms._value.get() == 0
    await rig.ask()
    await rig.program.sealer().seal()
    assert alarms._value.get() == 1
    assert not examine(folder_of(rig)).problems
    assert len(entries_in(folder_of(rig))) == 2


async def test_a_half_written_line_is_no_problem(rig: Rig, clock: ManualClock) -> None:
    await rig.ask()
    await rig.program.sealer().seal()
    with files_in(folder_of(rig))[0].path.open("ab") as file:
        file.write(b'{"seq":3,"prev":"')
    clock.advance(LEASE + 1)
    await rig.ask()
    await rig.program.sealer().seal()
    report = examine(folder_of(rig))
    assert not report.problems
    assert "incomplete, as after a crash" in report.notes[0]


async def test_a_disk_that_fails_costs_nothing_but_memory(rig: Rig) -> None:
    sealer = rig.program.sealer()
    await rig.ask()
    with patch.object(Folder, "append", side_effect=OSError(28, "No space left on device")):
        assert await sealer._turn() == 0
        assert await sealer._turn() == 0
    alarms = rig.program.metrics.alarms.labels(Alarm.AUDIT_STOPPED)
    assert alarms._value.get() == 1, "one alarm, not one per try"
    assert await rig.program.streams.waiting() == 1
    assert await sealer._turn() == 1
    assert not examine(folder_of(rig)).problems


async def test_switched_off_nothing_is_kept(open_rig: OpenRig) -> None:
    async with open_rig(encryption=KEYS, audit={"to": "off"}) as rig:
        await approved(rig)
        await rig.program.sealer().seal()
        assert await rig.program.streams.waiting() == 0
        assert not folder_of(rig).exists()


async def test_retention_leaves_a_checkpoint(
    rig: Rig, clock: ManualClock, make: Callable[..., Sealer]
) -> None:
    for _ in range(3):
        await rig.ask()
        await make().seal()
        clock.advance(LEASE + 1)
    before = files_in(folder_of(rig))
    assert len(before) == 3
    await rig.ask()
    clock.advance(before[2].begun - clock.now() + HOUR)  # files are named by the machine's clock
    await make(retention=1).seal()
    after = files_in(folder_of(rig))
    assert [file.path for file in after[:-1]] == [before[2].path]
    report = examine(folder_of(rig))
    assert not report.problems
    assert report.first == before[2].first
    # control: another file is gone, and no checkpoint says so
    after[0].path.unlink()
    assert "no checkpoint" in examine(folder_of(rig)).problems[0]


@pytest.fixture
def make(rig: Rig) -> Callable[..., Sealer]:
    def made(retention: int = 400 * DAY) -> Sealer:
        program = rig.program
        return Sealer(
            streams=program.streams,
            sink=Folder(folder_of(rig)),
            seals=program.audit_keys,
            alarms=program.alarms,
            metrics=program.metrics,
            clock=program.clock,
            every=1_000,
            retention=retention,
        )

    return made


async def test_without_a_key_it_is_a_chain_that_nobody_signs(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        assert rig.program.audit_keys == AuditKeys(
            signer=None, ring=None, published=rig.program.audit_keys.published
        )
        await rig.ask()
        await rig.program.sealer().seal()
        assert not examine(folder_of(rig)).problems
        (line,) = entries_in(folder_of(rig))
        assert "sealed" not in line


async def test_it_seals_while_it_runs(rig: Rig) -> None:
    sealer = rig.program.sealer()
    task = asyncio.create_task(sealer.run())
    await rig.ask()

    async def sealed() -> bool:
        return not await rig.program.streams.waiting()

    await wait_until(sealed)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(entries_in(folder_of(rig))) == 1


@pytest.mark.parametrize(
    ("waiting", "pause"),
    [(1, 1.0), (70, 0.3), (100_001, 0.0)],
    ids=["few", "more than are sealed at once", "too many for Redis"],
)
async def test_sealing_leaves_time_to_requests_while_redis_has_room(
    rig: Rig,
    make: Callable[..., Sealer],
    clock: ManualClock,
    waiting: int,
    pause: float,
) -> None:
    """What took 20 ms is followed by 15 times as long for everybody else."""
    for _ in range(min(waiting, 70)):
        await rig.program.streams.append("refused", {"event": "Refused"})

    async def wait(seconds: float) -> None:
        assert seconds == pytest.approx(pause)
        raise asyncio.CancelledError

    write = Folder.append

    def slow(folder: Folder, first: int, lines: Sequence[bytes]) -> None:
        clock.advance(20)
        write(folder, first, lines)

    with (
        patch.object(Folder, "append", slow),
        patch.object(AuditStreams, "waiting", AsyncMock(return_value=waiting)),
        patch("proxy.audit.sealer.asyncio.sleep", wait),
        pytest.raises(asyncio.CancelledError),
    ):
        await make().run()
