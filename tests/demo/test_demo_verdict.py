"""The verdict finds nothing where all is right, and each thing that is wrong."""

from typing import Any

import pytest

from proxy.demo.verdict import Expected, Row, judge

Entries = list[dict[str, Any]]


def journal(*entries: dict[str, Any]) -> Entries:
    return [{"seq": number, "at": 0, **entry} for number, entry in enumerate(entries, 1)]


def asked(correlation_id: str | None = "c-1", hook: str = "h-1", answer: int = 202) -> Any:
    return {
        "kind": "hook_call",
        "hook": hook,
        "answer": answer,
        "correlation_id": correlation_id,
    }


def called(
    status: str = "OK",
    correlation_id: str | None = "c-1",
    hook: str = "h-1",
    outcome: str = "accepted",
) -> Any:
    return {
        "kind": "callback",
        "hook": hook,
        "status": status,
        "outcome": outcome,
        "correlation_id": correlation_id,
    }


def created(key: str = "DESK-1", correlation_id: str = "c-1") -> Any:
    return {"kind": "created", "ticket": "1", "key": key, "correlation_id": correlation_id}


def decided(status: str = "approved", correlation_id: str = "c-1") -> Any:
    return {"kind": "status", "ticket": "1", "status": status, "correlation_id": correlation_id}


RESET = {
    "kind": "fault",
    "operation": "callback",
    "fault": "reset",
    "after_effect": False,
    "hook": "h-1",
}


@pytest.mark.parametrize(
    ("decision", "status"), [("approved", "OK"), ("rejected", "KO"), ("cancelled", "KO")]
)
def test_one_ticket_and_the_status_of_its_decision_is_good(decision: str, status: str) -> None:
    verdict = judge(journal(created(), decided(decision)), journal(asked(), called(status)))
    assert verdict.good
    assert verdict.rows == (Row("c-1", "h-1", ("DESK-1",), decision, status, 1),)


def test_repeats_probes_faults_and_later_statuses_of_the_desk_are_no_problem() -> None:
    desk = journal(created(), decided("in_review"), decided(), decided("done"))
    witboost = journal(
        asked(),
        asked(),
        asked(hook="h-2", answer=400, correlation_id=None),
        called(outcome="wrong_method"),
        called(outcome="unauthorized"),
        RESET,
        called(correlation_id=None),
        called(outcome="closed"),
    )
    verdict = judge(desk, witboost)
    assert verdict.problems == ()
    assert verdict.rows[0].attempts == 5


def test_a_reused_url_is_told_apart_by_correlation_id() -> None:
    desk = journal(created(), decided(), created("DESK-2", "c-2"), decided("rejected", "c-2"))
    witboost = journal(asked(), called(), asked("c-2"), called("KO", "c-2"))
    verdict = judge(desk, witboost)
    assert verdict.good
    assert [row.status for row in verdict.rows] == ["OK", "KO"]


def test_without_hook_calls_the_callbacks_join_the_journals() -> None:
    assert judge(journal(created(), decided()), journal(called())).good


@pytest.mark.parametrize(
    ("desk", "witboost", "problem"),
    [
        (
            [created(), created("DESK-2"), decided()],
            [asked(), called()],
            "request c-1: 2 tickets instead of 1 (DESK-1, DESK-2)",
        ),
        ([], [asked(), called()], "request c-1: 0 tickets instead of 1"),
        ([created(), decided()], [asked()], "request c-1: 0 final statuses instead of 1"),
        (
            [created(), decided()],
            [asked(), called(), called()],
            "request c-1: 2 final statuses instead of 1",
        ),
        (
            [created(), decided()],
            [asked(), called("KO")],
            "request c-1: status KO instead of OK (the desk: approved)",
        ),
        (
            [created(), decided("rejected"), decided("approved")],
            [asked(), called("OK")],
            "request c-1: status OK instead of KO (the desk: rejected)",
        ),
        ([created()], [asked(), called()], "request c-1: no decision at the desk"),
        (
            [created(), decided("in_review")],
            [asked(), called()],
            "request c-1: no decision at the desk",
        ),
        (
            [created(), decided()],
            [asked(), called(), called("KO", outcome="closed")],
            "request c-1: callbacks with KO and OK",
        ),
        (
            [created(), decided()],
            [called(outcome="unknown_hook")],
            "hook h-1: callback 1 is refused as unknown_hook",
        ),
        (
            [created(), decided()],
            [asked(), called(outcome="invalid"), called()],
            "hook h-1: callback 2 is refused as invalid",
        ),
        (
            [created(), decided()],
            [asked(), asked("c-2", "h-2"), called(hook="h-2")],
            "hook h-2: called for request c-1, which is not its own",
        ),
        ([], [asked(None)], "hook h-1: the 202 has no correlation id"),
        (
            [created(), decided()],
            [],
            "request c-1: no hook call and no callback leads to it",
        ),
    ],
)
def test_what_is_wrong_is_said(desk: Entries, witboost: Entries, problem: str) -> None:
    verdict = judge(journal(*desk), journal(*witboost))
    assert not verdict.good
    assert problem in verdict.problems


def test_expectations_replace_the_rules_by_either_id() -> None:
    desk, witboost = journal(created()), journal(asked(), called("KO"))
    assert not judge(desk, witboost).good
    assert judge(desk, witboost, {"c-1": Expected(status="KO")}).good
    assert judge(desk, witboost, {"h-1": Expected(status="KO")}).good
    assert not judge(desk, witboost, {"h-1": Expected(status="OK")}).good
    assert not judge(desk, witboost, {"h-1": Expected(status="open")}).good
    assert judge(desk, journal(asked()), {"h-1": Expected(status="open")}).good
    assert judge([], witboost, {"h-1": Expected(tickets=0, status="KO")}).good
    assert not judge(desk, witboost, {"h-1": Expected(tickets=0, status="KO")}).good


def test_a_request_lost_without_a_trace_is_a_problem() -> None:
    assert judge([], [], {"c-1": Expected()}).problems == ("request c-1: in neither journal",)
