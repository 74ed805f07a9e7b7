"""What stands in the history of a request: every step, in words that an operator can act on."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from proxy.simulators.faults import Fault
from tests.conftest import OpenRig
from tests.support.rig import Rig

SECOND = 1_000
MINUTE = 60 * SECOND
WEEK = 7 * 24 * 60 * MINUTE

Line = tuple[int, str, str, Mapping[str, Any]]

ADMITTED: Line = (0, "Admitted", "received", {"by": "main/witboost"})
SENDING: Line = (0, "Sending", "opening", {})
TICKET = {"id": "1001", "key": "DESK-1", "native_status": "new"}
OPENED: Line = (0, "Opened", "pending", {"ticket": TICKET, "how": "created"})
BEGUN = [ADMITTED, SENDING, OPENED]


def decided(at: int) -> Line:
    says = {"decision": "approved", "by": "olga", "native_status": "approved"}
    return (at, "Decided", "decided", {**says, "evidence": "desk DESK-1: approved"})


async def history(rig: Rig, call: Any) -> list[Line]:
    """Return the history with times from its beginning, and without what differs in every run."""
    lines = await rig.program.store.history(str(call.correlation_id))
    text = orjson.dumps(lines).decode().replace(rig.desk.url, "DESK")
    text = re.sub(f"{rig.witboost.url}/api/actionHandler/[0-9a-f-]+", "HOOK", text)
    text = re.sub("ClientOSError|ServerDisconnectedError", "NETWORK", text)
    text = re.sub('"[0-9a-f]{40}"', '"SERVER"', text)
    begin = lines[0]["at"]
    return [
        (line.pop("at") - begin, line.pop("event"), line.pop("state"), line)
        for line in orjson.loads(text)
    ]


async def ask(rig: Rig) -> Any:
    """Ask, open the ticket, and read it once."""
    call = await rig.ask()
    await rig.work()
    await rig.work(after=2 * SECOND)
    return call


async def decide(rig: Rig, status: str = "approved", *, after: int = 5 * MINUTE) -> None:
    rig.desk.decide("1001", status, by="olga")
    await rig.work(after=after)


async def test_the_straight_way(rig: Rig) -> None:
    call = await ask(rig)
    await decide(rig)
    at = 2 * SECOND + 5 * MINUTE
    assert await history(rig, call) == [*BEGUN, decided(at), (at, "CalledBack", "done", {})]


@pytest.mark.parametrize("refused", [False, True])
async def test_an_announcement_and_what_witboost_said_to_it(
    open_rig: OpenRig, *, refused: bool
) -> None:
    route = {"name": "default", "system": "desk", "announce": True}
    async with open_rig(routes=[route]) as rig:
        if refused:
            rig.witboost.switch_on(Fault("callback", "answer", status=422, times=1))
        call = await ask(rig)
        note = {
            "note": "witboost main answered 422 to PUT HOOK (fault of callback): it refused what"
            " we sent"
        }
        said = note if refused else {}
        assert await history(rig, call) == [*BEGUN, (2 * SECOND, "Announced", "pending", said)]


FULFILMENT = {"name": "default", "system": "desk", "callback_on": "fulfilment"}


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (
            500,
            {
                "code": "unreachable",
                "reason": "desk answered 500 to GET DESK/api/tickets/1001 (fault of read): it will"
                " be tried again",
                "delay": 1_000,
            },
        ),
        (
            404,
            {
                "code": "unreachable",
                "reason": "desk answered 404 to GET DESK/api/tickets/1001 (fault of read): check"
                " that it exists and that our account may see it",
                "delay": 1_000,
            },
        ),
        (
            401,
            {
                "code": "paused",
                "reason": "desk answered 401 to GET DESK/api/tickets/1001 (fault of read): check"
                " the credential and the permissions of its account",
                "refused": True,
            },
        ),
    ],
)
async def test_fulfilment_and_what_stood_in_its_way(
    open_rig: OpenRig, status: int, line: Mapping[str, Any]
) -> None:
    async with open_rig(routes=[FULFILMENT]) as rig:
        call = await ask(rig)
        await decide(rig, after=10 * SECOND)
        fault = Fault("read", "answer", status=status, times=2 if status == 401 else 1)
        rig.desk.switch_on(fault)
        await rig.work(after=10 * MINUTE)
        paused = {
            name for name, pause in (await rig.program.pause_store.pauses()).items() if pause.since
        }
        assert paused == ({"desk"} if status == 401 else set())
        await decide(rig, "done")

        first, second, last = (12 * SECOND + minutes * MINUTE for minutes in (0, 10, 15))
        by = rig.clock.now() - last + first + WEEK
        assert await history(rig, call) == [
            *BEGUN,
            decided(first),
            (first, "FulfilmentAwaited", "fulfilling", {"by": by}),
            (second, "Postponed", "fulfilling", line),
            (last, "Fulfilled", "fulfilling", {"fulfilment": "fulfilled", "native_status": "done"}),
            (last, "CalledBack", "done", {}),
        ]


async def test_fulfilment_has_its_own_deadline_to_the_millisecond(open_rig: OpenRig) -> None:
    route = {**FULFILMENT, "on_fulfilment_deadline": "fail", "fulfilment_deadline": "10m"}
    async with open_rig(routes=[route]) as rig:
        call = await ask(rig)
        await decide(rig, after=10 * SECOND)
        await rig.work(after=10 * MINUTE)
        assert [line[1] for line in await history(rig, call)][-2:] == ["Fulfilled", "CalledBack"]


@pytest.mark.parametrize(
    ("status", "times", "event", "line"),
    [
        (
            404,
            3,
            "Uncalled",
            {
                "code": "callback_refused",
                "reason": "witboost main answered 404 to POST HOOK (fault of callback): check that"
                " it exists and that our account may see it",
            },
        ),
        (
            422,
            1,
            "Uncalled",
            {
                "code": "callback_refused",
                "reason": "witboost main answered 422 to PUT HOOK (fault of callback): it refused"
                " what we sent",
            },
        ),
        (
            500,
            1,
            "Postponed",
            {
                "code": "unreachable",
                "reason": "witboost main answered 500 to PUT HOOK (fault of callback): it will be"
                " tried again",
            },
        ),
    ],
)
async def test_callbacks_that_did_not_arrive(
    rig: Rig, status: int, times: int, event: str, line: Mapping[str, Any]
) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=status, times=times))
    call = await ask(rig)
    await decide(rig)
    await rig.work(after=5 * MINUTE)
    first, second = 2 * SECOND + 5 * MINUTE, 2 * SECOND + 10 * MINUTE
    assert await history(rig, call) == [
        *BEGUN,
        decided(first),
        (first, event, "decided", {**line, "delay": 1_000}),
        (second, "CalledBack", "done", {}),
    ]


async def test_a_conflict_after_an_answer_that_was_lost_is_a_success(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=500, times=1))
    call = await ask(rig)
    await decide(rig)
    rig.witboost.switch_on(Fault("callback", "answer", status=409, times=1))
    await rig.work(after=5 * MINUTE)
    note = {"note": "witboost says that an earlier attempt arrived"}
    at = 2 * SECOND + 10 * MINUTE
    assert (await history(rig, call))[-1] == (at, "CalledBack", "done", note)


async def test_a_conflict_without_an_earlier_attempt_waits_for_a_person(rig: Rig) -> None:
    rig.witboost.switch_on(Fault("callback", "answer", status=409, times=1))
    call = await ask(rig)
    await decide(rig)
    _, event, state, says = (await history(rig, call))[-1]
    assert (event, state, says["code"]) == ("Held", "held", "callback_conflict")
    assert says["reason"].startswith("witboost main answered 409 to PUT HOOK")


async def test_a_ticket_that_is_refused(open_rig: OpenRig) -> None:
    route = {"name": "default", "system": "desk", "on_refusal": "fail"}
    async with open_rig(routes=[route]) as rig:
        rig.desk.switch_on(Fault("create", "answer", status=422, times=1))
        call = await ask(rig)
        reason = (
            "desk refused to create the ticket: desk answered 422 to POST DESK/api/tickets (fault"
            " of create): it refused what we sent"
        )
        assert await history(rig, call) == [
            ADMITTED,
            SENDING,
            (0, "NotSent", "received", {"code": "refused", "reason": reason}),
            (
                0,
                "Decided",
                "decided",
                {"decision": "failed", "comment": reason, "evidence": reason},
            ),
            (0, "CalledBack", "done", {}),
        ]


async def test_a_ticket_that_cannot_be_opened_for_now(rig: Rig) -> None:
    rig.desk.switch_on(Fault("create", "answer", status=429, times=1))
    call = await rig.ask()
    await rig.work()
    at, event, state, says = (await history(rig, call))[-1]
    assert (at, event, state, says["code"]) == (0, "NotSent", "received", "unreachable")
    assert says["reason"].startswith("desk answered 429 to POST DESK/api/tickets")
