"""One request, looked at after every step: its history, when it goes on, which alarm says so."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.simulators.faults import Fault
from tests.engine.test_history import OPENED, SENDING, Line, history
from tests.support.rig import GRANT, Rig

SECOND = 1_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
RETENTION = 90 * DAY
TICKET = {"id": "1001", "key": "DESK-1"}
ADVICE = {
    401: "check the credential and the permissions of its account",
    403: "check the credential and the permissions of its account",
    404: "check that it exists and that our account may see it",
    422: "it refused what we sent",
    500: "it will be tried again",
}


@dataclass
class Watched:
    """One request, alone in its store, looked at after every step."""

    rig: Rig
    call: Any
    caplog: pytest.LogCaptureFixture
    seen: int = 1

    async def work(self, after: int = 0) -> list[Line]:
        """Let some milliseconds pass, do what is due, and return what is new in the history."""
        await self.rig.work(after=after)
        lines = await history(self.rig, self.call)
        news, self.seen = lines[self.seen :], len(lines)
        return news

    async def due_in(self) -> int | None:
        """Return in how many milliseconds the request wants attention; None is never."""
        due = await self.rig.program.store.next_due()
        return None if due is None else due - self.rig.clock.now()

    def alarms(self) -> list[tuple[str, str]]:
        """Return the alarms since the last look, with their messages: about this request all."""
        heard = [vars(it) for it in self.caplog.records if "alarm" in vars(it)]
        self.caplog.clear()
        for it in heard:
            assert it["destination"] == "desk"
            about_all = it["alarm"].startswith("destination_")
            assert it.get("correlation_id") == (None if about_all else self.call.correlation_id)
        return [(it["alarm"], it["message"]) for it in heard]


async def watch(
    rig: Rig, caplog: pytest.LogCaptureFixture, fields: Mapping[str, Any] = GRANT
) -> Watched:
    caplog.set_level(logging.WARNING, "proxy.alarms")
    rig.desk.switch_on(Fault("event", "lose", times=None))  # a hint would come when it likes
    return Watched(rig, await rig.ask(fields), caplog)


async def watch_forgotten(rig: Rig, caplog: pytest.LogCaptureFixture) -> Watched:
    """Watch a request that another server of the store took, which may have lost what followed."""
    store = rig.program.store
    store.run_ids = dict.fromkeys(store.keys.tags(), "an earlier start")
    return await watch(rig, caplog)


def swallow(watched: Watched) -> None:
    """Let the desk have the ticket of a create that the store does not remember."""
    desk, fields = watched.rig.desk, {"title": "grant"}
    fields["correlation_id"] = str(watched.call.correlation_id)
    desk.tickets.add(fields, pages=desk.url, now=watched.rig.clock.now())


DOUBTED: Line = (
    0,
    "Doubted",
    "opening",
    {
        "run_id": "SERVER",
        "reason": "The store was restarted, failed over or restored: it may have forgotten a"
        " create",
    },
)


async def opened(rig: Rig, caplog: pytest.LogCaptureFixture) -> Watched:
    watched = await watch(rig, caplog)
    assert await watched.work() == [SENDING, OPENED]
    assert await watched.due_in() == SECOND
    return watched


def answered(status: int, call: str, operation: str) -> str:
    return f"desk answered {status} to {call} (fault of {operation}): {ADVICE[status]}"


def unreadable(status: int) -> str:
    return answered(status, "GET DESK/api/tickets/1001", "read")


LOST = "desk: POST DESK/api/tickets failed, the answer was lost (NETWORK): check that the"
IN_DOUBT: Line = (
    0,
    "Postponed",
    "opening",
    {
        "code": "create_in_doubt",
        "reason": f"{LOST} system is up and can be reached from here",
        "delay": 7 * SECOND,  # the desk's deadline and settle time
    },
)


async def in_doubt(rig: Rig, caplog: pytest.LogCaptureFixture, *, made: bool) -> Watched:
    watched = await watch(rig, caplog)
    rig.desk.switch_on(Fault("create", "reset", after_effect=made))
    assert await watched.work() == [SENDING, IN_DOUBT]
    assert await watched.due_in() == 7 * SECOND
    return watched


CALLED_BACK: Line = (0, "CalledBack", "done", {})
TOLD: Line = (0, "Told", "done", {"note": "withdrawn"})


def at(time: int, *lines: Line) -> list[Line]:
    return [(time, *line[1:]) for line in lines]
