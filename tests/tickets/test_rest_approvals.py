"""Approvals beside the ticket: a second request, and a rule that makes one outcome of many."""

from typing import Any, Literal

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as some

from proxy.domain.models import Outcome
from proxy.errors import TemporaryError
from proxy.tickets.rest.approvals import combined
from tests.support.declarations import declaration
from tests.support.rest_adapter import open_rest_adapter, ticket

A, R, P, C, F = (
    Outcome.APPROVED,
    Outcome.REJECTED,
    Outcome.PENDING,
    Outcome.CANCELLED,
    Outcome.FAILED,
)
Rule = Literal["all", "any", "final"]


@pytest.mark.parametrize(
    ("outcomes", "everybody", "anybody", "last"),
    [
        ([], P, P, P),
        ([C], P, P, P),
        ([A], A, A, A),
        ([R], R, R, R),
        ([P], P, P, P),
        ([None], None, None, None),
        ([A, A], A, A, A),
        ([A, C], A, A, A),
        ([A, P], P, A, P),
        ([A, R], R, A, R),
        ([R, A], R, A, A),
        ([P, R], R, P, R),
        ([R, R], R, R, R),
        ([A, None], None, A, None),
        ([R, None], R, None, None),
        ([A, F], F, A, F),
        ([R, F], R, R, F),
    ],
)
def test_one_outcome_of_many(
    outcomes: list[Outcome | None],
    everybody: Outcome | None,
    anybody: Outcome | None,
    last: Outcome | None,
) -> None:
    rules: tuple[Rule, ...] = ("all", "any", "final")
    assert [combined(rule, outcomes) for rule in rules] == [everybody, anybody, last]


@given(some.lists(some.sampled_from([A, R, P, C, F, None]), max_size=6))
def test_nothing_is_approved_without_an_approval(outcomes: list[Outcome | None]) -> None:
    rules: tuple[Rule, ...] = ("all", "any", "final")
    for rule in rules:
        if combined(rule, outcomes) is A:
            counted = [outcome for outcome in outcomes if outcome is not C]
            assert A in counted
            assert rule == "any" or counted[-1] is A
            assert rule != "all" or set(counted) == {A}


def approvals(rule: Rule = "all", **changes: Any) -> dict[str, Any]:
    return {
        "path": "/tickets/{{ ticket.id }}/approvals",
        "approvals": "approvals",
        "rule": rule,
        "status": "state.name",
        "decision": {"requested": "pending", "yes": "approved", "no": "rejected"},
        "decided_by": "who",
        "decided_at": "at",
        "comment": "why",
        **changes,
    }


DECISION = {"new": "pending", "closed": "cancelled"}


def desk(status: str, *said: tuple[str, str]) -> Any:
    """Return a server whose ticket has a status, and approvals that say this, by these people."""
    its = [{"state": {"name": state}, "who": who, "at": "t", "why": "w"} for state, who in said]

    def answering(request: web.Request) -> Any:
        if request.path.endswith("/approvals"):
            return {"approvals": its}
        return {"ticket": ticket(status=status, decided_by="nobody")}

    return answering


async def fetched(answering: Any, **how: Any) -> Any:
    declared = {"approvals": approvals(**how), "decision": DECISION}
    async with open_rest_adapter(answering, **declared) as (system, server):
        found = await system.fetch("7")
    assert [call.path for call in server.calls] == ["/v2/api/tickets/7", "/v2/tickets/7/approvals"]
    return found


async def test_the_approvals_decide_and_say_who() -> None:
    found = await fetched(desk("new", ("yes", "olga"), ("yes", "piotr")))
    assert found.outcome is Outcome.APPROVED
    assert (found.decided_by, found.deciders) == ("piotr", ("olga", "piotr"))
    assert (found.native_status, found.comment, found.decided_at) == ("yes", "w", "t")


async def test_who_said_no_is_named_and_nobody_else() -> None:
    found = await fetched(desk("new", ("no", "piotr"), ("yes", "olga")))
    assert found.outcome is Outcome.REJECTED
    assert (found.decided_by, found.deciders) == ("piotr", ("piotr",))


async def test_no_approval_yet_is_no_approval() -> None:
    found = await fetched(desk("new"))
    assert (found.outcome, found.native_status) == (Outcome.PENDING, "new")


async def test_a_ticket_that_ended_without_approval_is_ended() -> None:
    found = await fetched(desk("closed", ("requested", "olga")))
    assert (found.outcome, found.native_status) == (Outcome.CANCELLED, "closed")


async def test_an_approved_ticket_that_was_closed_meanwhile_is_approved() -> None:
    found = await fetched(desk("closed", ("yes", "olga")))
    assert found.outcome is Outcome.APPROVED


async def test_a_state_that_nobody_knows_waits_and_shows() -> None:
    found = await fetched(desk("new", ("yes", "olga"), ("maybe", "piotr")))
    assert (found.outcome, found.native_status) == (None, "yes, maybe")


async def test_approvals_on_a_second_page_count() -> None:
    def answering(request: web.Request) -> Any:
        if not request.path.endswith("/approvals"):
            return {"ticket": ticket()}
        if request.query["page"] == "1":
            return {"approvals": [{"state": {"name": "yes"}}], "more": True}
        return {"approvals": [{"state": {"name": "no"}}], "more": False}

    pages = {"style": "page", "parameter": "page", "more": "more"}
    declared = {"approvals": approvals(pages=pages), "decision": DECISION}
    async with open_rest_adapter(answering, **declared) as (system, _):
        assert (await system.fetch("7")).outcome is Outcome.REJECTED


async def test_approvals_that_cannot_be_read_are_an_error() -> None:
    def answering(request: web.Request) -> Any:
        return {} if request.path.endswith("/approvals") else {"ticket": ticket(status="closed")}

    declared = {"approvals": approvals(), "decision": DECISION}
    async with open_rest_adapter(answering, **declared) as (system, _):
        with pytest.raises(TemporaryError, match=r"no list.*approvals\.approvals"):
            await system.fetch("7")


def test_deciders_are_named_by_the_approvals() -> None:
    silent = approvals(decided_by=None)
    assert declaration(approvals=approvals(), decision=DECISION).names_deciders
    assert not declaration(approvals=silent, decision=DECISION).names_deciders


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"decision": {"done": "approved"}}, "'done' approves, but the approvals decide"),
        ({"read_many": {"path": "/m", "query": {"ids": "{{ ids }}"}}}, "read_many saves nothing"),
        (
            {"approvals": approvals(decision={"a": "approved", "A": "pending"})}
            | {"status_case": "ignore"},
            "approvals.decision has a status twice",
        ),
        ({"approvals": approvals(rule="most")}, "'all', 'any' or 'final'"),  # type: ignore[arg-type]
        ({"approvals": approvals(path="/{{ tickt.id }}")}, "did you mean 'ticket'"),
    ],
)
def test_approvals_that_cannot_work_are_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        declaration(**({"approvals": approvals(), "decision": DECISION} | changed))
