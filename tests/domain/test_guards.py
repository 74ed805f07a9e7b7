"""What speaks against an approval: one table."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.guards import violations
from proxy.domain.identities import Identities, Rule
from proxy.domain.models import ApprovalRequest, Ticket, Verb
from proxy.domain.route import Guards

REQUEST = ApprovalRequest(
    correlation_id="ar1",
    respond_to="https://w.example.com/1",
    fields={},
    verb=Verb.GRANT,
    identities=["user:ada_company.com", "group:finance"],
    motivation="",
    requester="user:bob_company.com",
    resource="",
    request_id="",
)
TICKET = Ticket("1", "T-1", decided_by="Olga", deciders=["olga", "olga@company.com"])
IDENTITIES = Identities(domains=["company.com"])


def said(
    ticket: Ticket = TICKET,
    request: ApprovalRequest = REQUEST,
    *,
    seen: str = "",
    **guards: Any,
) -> str:
    found = violations(Guards(**guards), request, ticket, key_fields=seen, identities=IDENTITIES)
    return "; ".join(found)


def by(*deciders: str, **changes: Any) -> Ticket:
    return replace(TICKET, decided_by="", deciders=deciders, **changes)


def test_an_approval_by_somebody_else_passes() -> None:
    assert said() == ""


@pytest.mark.parametrize(
    ("ticket", "objection"),
    [
        (by("bob", "bob@company.com"), "approved by bob@company.com, who asked for it"),
        (by("Ada@Company.com"), "approved by Ada@Company.com, who gets the access"),
        (by("Olga Nowak"), "of Olga Nowak it is not known who that is"),
        (by("olga"), "of olga it is not known who that is"),
        (by(), "the ticket does not say who approved"),
    ],
)
def test_who_must_not_or_may_not_be_the_approver_is_named(ticket: Ticket, objection: str) -> None:
    assert objection in said(ticket)


@pytest.mark.parametrize(
    ("guards", "ticket"),
    [
        ({"self_approval": "allow"}, by("bob@company.com")),
        ({"unknown_approver": "allow"}, by("olga")),
        ({"unknown_approver": "allow"}, by()),
    ],
)
def test_a_route_may_allow_it(guards: dict[str, Any], ticket: Ticket) -> None:
    assert said(ticket, **guards) == ""
    assert said(ticket) != ""


def test_allowing_the_unknown_does_not_allow_the_known() -> None:
    assert "who asked for it" in said(by("bob@company.com"), unknown_approver="allow")


def test_our_own_account_never_approves() -> None:
    both = by("svc-proxy", "svc-proxy@company.com")
    assert said(both) == ""
    assert "our own account" in said(both, own_accounts=["SVC-proxy"])


OWN = Identities(
    domains=["company.com"],
    rules=[Rule("CORP-{account}", email="{account}@company.com"), Rule("uid:{id}", account="{id}")],
    lookup={"1": "gw@company.com", "Gateway (technical)": "gw@company.com"},
)


@pytest.mark.parametrize(
    ("decider", "own"),
    [
        ("1", "gw@company.com"),
        ("gw@company.com", "1"),
        ("Gateway (technical)", "GW@company.com"),
        ("CORP-gw", "gw@company.com"),
        ("user:gw_company.com", "gw@company.com"),
        ("uid:7f3", "7f3"),
        ("svc-proxy", "SVC-Proxy"),
    ],
)
def test_our_own_account_is_known_in_every_spelling(decider: str, own: str) -> None:
    guards = Guards(own_accounts=[own], unknown_approver="allow")
    answer = violations(guards, REQUEST, by(decider), key_fields="", identities=OWN)
    assert answer == [f"it was approved by our own account {decider}"]


@pytest.mark.parametrize("decider", ["2", "CORP-olga", "gw@other.com", "olga@company.com"])
def test_another_account_is_not_ours(decider: str) -> None:
    guards = Guards(own_accounts=["gw@company.com", "1"], unknown_approver="allow")
    assert violations(guards, REQUEST, by(decider), key_fields="", identities=OWN) == []


def test_without_identities_only_the_spelling_itself_is_ours() -> None:
    """The negative control: the rules of the settings are what recognises the account."""
    guards = Guards(own_accounts=["gw@company.com"], unknown_approver="allow")
    assert violations(guards, REQUEST, by("1"), key_fields="", identities=Identities()) == []


@pytest.mark.parametrize(
    ("groups", "passes"), [(["Data Owners"], True), (["Interns"], False), ([], False)]
)
def test_only_the_named_groups_approve(groups: list[str], *, passes: bool) -> None:
    ticket = replace(TICKET, decider_groups=groups)
    assert (said(ticket, approver_groups=["data owners"]) == "") is passes
    assert said(ticket) == ""


@pytest.mark.parametrize(
    ("seen", "now", "passes"),
    [("a", "a", True), ("a", "b", False), ("", "b", True), ("a", "", False)],
)
def test_what_was_changed_after_the_first_look_is_not_what_was_asked(
    seen: str, now: str, *, passes: bool
) -> None:
    ticket = replace(TICKET, key_fields=now)
    assert (said(ticket, seen=seen) == "") is passes
    assert said(ticket, seen=seen, changed_fields="allow") == ""


def test_without_a_requester_the_others_are_still_looked_at() -> None:
    assert said(request=replace(REQUEST, requester="")) == ""
    assert said(by("ada@company.com"), replace(REQUEST, requester="")) != ""


@pytest.mark.parametrize(
    ("ticket", "guards", "sentence"),
    [
        (
            by("Olga Nowak", "Ann Smith"),
            {},
            (
                "of Olga Nowak, Ann Smith it is not known who that is, so it may be somebody"
                " who asked for it or gets the access"
            ),
        ),
        (
            by(),
            {},
            (
                "the ticket does not say who approved, so it may be somebody who asked for it"
                " or gets the access"
            ),
        ),
        (
            replace(TICKET, decider_groups=["it", "hr"]),
            {"approver_groups": ["owners", "stewards"]},
            "it was approved for it, hr, and not for owners, stewards",
        ),
        (
            TICKET,
            {"approver_groups": ["owners"]},
            "it was approved for no group that the ticket names, and not for owners",
        ),
        (
            replace(TICKET, key_fields="now"),
            {"seen": "before"},
            "what the ticket asks for was changed after it was opened",
        ),
    ],
)
def test_each_objection_says_what_is_wrong(
    ticket: Ticket, guards: dict[str, Any], sentence: str
) -> None:
    assert said(ticket, **guards) == sentence


def test_the_name_that_people_say_serves_where_the_system_says_no_other() -> None:
    ticket = replace(TICKET, deciders=[], decided_by="ada@company.com")
    assert said(ticket) == "it was approved by ada@company.com, who gets the access"
    assert said(replace(ticket, decided_by="olga@company.com")) == ""


def test_one_doubt_is_not_forgotten_over_the_next_person() -> None:
    """The first person cannot be told from the approver, the second one can."""
    request = replace(REQUEST, identities=["Olga Nowak", "user:ada_company.com"], requester="")
    assert "it is not known who that is" in said(by("olga@company.com"), request)
