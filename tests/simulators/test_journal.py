"""A journal can be awaited, survives in a file, and is told over HTTP."""

import asyncio
from pathlib import Path

import pytest

from proxy.simulators.desk.server import Desk
from proxy.simulators.journal import Entry, Journal, read_journal
from tests.support.demo_program import Program, TestClock


async def test_waiting_finds_what_was_and_what_comes(clock: TestClock) -> None:
    journal = Journal(clock=clock)
    first = journal.record("call", hook="a")
    assert first == {"seq": 1, "at": clock.milliseconds, "kind": "call", "hook": "a"}
    assert await journal.next_of("call", hook="a") is first

    async def happen() -> Entry:
        journal.record("call", hook="b")
        journal.record("other", hook="a")
        return journal.record("call", hook="a")

    waited, fourth = await asyncio.gather(journal.next_of("call", hook="a", after=1), happen())
    assert waited is fourth
    assert journal.of("call", hook="a") == [first, fourth]


async def test_waiting_in_vain_tells_what_was_recorded_instead() -> None:
    journal = Journal()
    journal.record("something")
    with pytest.raises(TimeoutError, match="something"):
        await journal.next_of("nothing", within=0.01)


async def test_a_journal_file_holds_every_entry_and_a_torn_line_is_left_out(
    tmp_path: Path,
) -> None:
    file = tmp_path / "desk.jsonl"
    journal = Journal(file)
    entries = [journal.record("call", number=number) for number in range(3)]
    assert read_journal(file) == entries
    journal.close()
    journal.record("late")
    with file.open("ab") as torn:
        torn.write(b'{"seq": 4, "ki')
    assert read_journal(file) == entries
    with file.open("ab") as torn:
        torn.write(b"\n")
    with pytest.raises(ValueError, match="unexpected"):
        read_journal(file)


async def test_a_long_poll_answers_as_soon_as_something_happens(
    desk: Desk, program: Program
) -> None:
    seen = len(desk.journal.entries)
    path = f"/desk/journal?after={seen}&wait=5"
    poll = asyncio.create_task(program.call("GET", path))
    await program.create()
    status, body = await poll
    assert status == 200
    assert [entry["kind"] for entry in body["entries"]] == ["created"]
    path = f"/desk/journal?after={seen + 1}&wait=0.01"
    assert await program.call("GET", path) == (200, {"entries": []})
    assert (await program.call("GET", "/desk/journal?after=x"))[0] == 400
