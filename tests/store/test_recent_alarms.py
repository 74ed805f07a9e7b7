"""Alarms for people who look: the last of each kind and destination, of all processes."""

import asyncio
from typing import Any

import pytest

from proxy.errors import StoreUnavailableError
from proxy.observability.alarms import Alarm, AlarmRecord, Alarms
from proxy.observability.metrics import Metrics
from proxy.security.key_ring import KeyRing
from proxy.store import recent_alarms
from proxy.store.at_rest import Privacy
from proxy.store.recent_alarms import KEPT, RecentAlarms
from proxy.store.requests import RequestStore

PAUSED, RESUMED = Alarm.DESTINATION_PAUSED, Alarm.DESTINATION_RESUMED


def sounded(at: int, alarm: Alarm = Alarm.REQUEST_DEAD, **more: Any) -> AlarmRecord:
    return AlarmRecord(at, alarm.value, f"what happened at {at}", **more)


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(Metrics())


async def test_the_last_of_each_kind_and_destination_stands(
    store: RequestStore, alarms: Alarms
) -> None:
    one, other = RecentAlarms(store, alarms), RecentAlarms(store, Alarms(Metrics()))
    await one.write([sounded(1), sounded(2, PAUSED, destination="desk")])
    await other.write([sounded(3), sounded(4, PAUSED, destination="main")])
    assert [(it.at, it.destination) for it in await one.read()] == [
        (4, "main"),
        (3, ""),
        (2, "desk"),
    ]
    assert await one.read() == await other.read()


async def test_of_a_pause_and_its_end_the_later_one_stands(
    store: RequestStore, alarms: Alarms
) -> None:
    shown = RecentAlarms(store, alarms)
    await shown.write([sounded(1, PAUSED, destination="desk")])
    await shown.write([sounded(1, PAUSED, destination="main")])
    await shown.write([sounded(2, RESUMED, destination="desk")])
    assert [(it.alarm, it.destination) for it in await shown.read()] == [
        (RESUMED, "desk"),
        (PAUSED, "main"),
    ]
    await shown.write(
        [sounded(3, RESUMED, destination="main"), sounded(4, PAUSED, destination="main")]
    )
    assert [it.at for it in await shown.read() if it.destination == "main"] == [4]


async def test_what_did_not_sound_for_long_is_forgotten(
    store: RequestStore, alarms: Alarms
) -> None:
    shown = RecentAlarms(store, alarms)
    await shown.write([sounded(1), sounded(2, Alarm.BACKLOG_FULL)])
    await shown.write([sounded(2 + KEPT, Alarm.WORKER_ENDED)])
    assert [it.at for it in await shown.read()] == [2 + KEPT, 2]


async def test_a_copy_of_the_store_does_not_show_what_an_alarm_says(
    store: RequestStore, alarms: Alarms
) -> None:
    store.privacy = Privacy(KeyRing([("k", b"k" * 32)]))
    shown = RecentAlarms(store, alarms)
    await shown.write([sounded(1)])
    kept = await store.client.hgetall(store.keys.shared("alarms"))
    assert b"what happened" not in b"".join(kept.values())
    assert [it.message for it in await shown.read()] == ["what happened at 1"]
    store.privacy = Privacy()
    assert await shown.read() == [], "its key is missing, and the others are still shown"


@pytest.mark.parametrize("damaged", [b"{", b"[]", b'{"at": 1}', b"\xff", b'{"at": "x"}'])
async def test_a_row_that_is_damaged_is_left_out_and_stops_nobody(
    store: RequestStore, alarms: Alarms, damaged: bytes
) -> None:
    shown = RecentAlarms(store, alarms)
    await store.client.hset(store.keys.shared("alarms"), b"\xff", damaged)
    await shown.write([sounded(1)])
    assert [it.at for it in await shown.read()] == [1]


async def test_what_could_not_be_written_is_written_later_unless_it_sounded_again(
    store: RequestStore, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, wrote = RecentAlarms(store, alarms), asyncio.Event()
    write, failures = shown.write, iter((True,))

    async def unsteady(each: list[AlarmRecord]) -> None:
        if next(failures, False):
            alarms.buffer(sounded(5, Alarm.BACKLOG_FULL))  # meanwhile
            raise StoreUnavailableError("gone")
        await write(each)
        wrote.set()

    monkeypatch.setattr(recent_alarms, "_PAUSE", 0)
    monkeypatch.setattr(recent_alarms, "_LATER", 0)
    monkeypatch.setattr(shown, "write", unsteady)
    alarms.buffer(sounded(1, Alarm.BACKLOG_FULL))
    alarms.sound(Alarm.REQUEST_HELD, "Look.", correlation_id="ar1", destination="desk")
    async with shown.recording():
        await asyncio.wait_for(wrote.wait(), 10)
    held, full = await shown.read()
    assert (held.message, held.correlation_id, held.destination) == ("Look.", "ar1", "desk")
    assert full.at == 5


async def test_what_sounds_at_the_very_end_is_written_as_well(
    store: RequestStore, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other within a second, and the last while the first is being written."""
    shown, writing = RecentAlarms(store, alarms), asyncio.Event()
    write, hangs = shown.write, iter((True,))

    async def slow(each: list[AlarmRecord]) -> None:
        writing.set()
        if next(hangs, False):
            await asyncio.Event().wait()
        await write(each)

    monkeypatch.setattr(shown, "write", slow)
    async with shown.recording():
        alarms.buffer(sounded(1, PAUSED, destination="desk"))
        await asyncio.wait_for(writing.wait(), 10)
        alarms.buffer(sounded(2, Alarm.WORKER_ENDED))
    assert [it.at for it in await shown.read()] == [2, 1]


async def test_a_store_that_is_gone_at_the_end_stops_nobody(
    store: RequestStore, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = RecentAlarms(store, alarms)

    async def gone(_each: list[AlarmRecord]) -> None:
        raise StoreUnavailableError("gone")

    monkeypatch.setattr(shown, "write", gone)
    async with shown.recording():
        alarms.buffer(sounded(1))
    assert alarms.drain() == [sounded(1)]
