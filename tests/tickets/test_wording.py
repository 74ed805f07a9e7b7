"""What a ticket says where the settings do not, whatever a requester types."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from proxy.domain.identities import Identities
from proxy.domain.models import ApprovalRequest
from proxy.tickets.declaring.context import template_context
from proxy.tickets.declaring.default_text import DESCRIPTION, TITLE
from proxy.tickets.declaring.templates import tree_template
from proxy.tickets.servicenow.client import harmless
from proxy.witboost.hook_call import approval_request

LIMITS = {"title": 120, "description": 4_000}
_WORDS = tree_template({"title": TITLE, "description": DESCRIPTION}, "words", LIMITS)
OURS = (
    *("Who:", "To what:", "Owner:", "Shown at:", "Asked by:", "Why:", "For how long:", "Until:"),
    "Also in the request:",
)

TEXTS = some.text(
    some.one_of(
        some.characters(codec="utf-8"),
        some.sampled_from("\r\n\x0b\x0c\x1c\x85\u2028\u2029\u202e\x1b{}%#[]"),
    ),
    max_size=40,
)
LINES = some.sampled_from(["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])


def asked(**fields: Any) -> ApprovalRequest:
    body = orjson.dumps({"respondToUrl": "https://w.example.com/1", "fields": fields})
    return approval_request("r-1", body, "x", Identities(domains=("company.com",)))


def words(request: ApprovalRequest) -> tuple[str, str]:
    tree = _WORDS(template_context(request, harmless))
    return tree["title"], tree["description"]


WHOLE = {
    "verb": "grant",
    "identities": ["user:john.doe_company.com"],
    "requester": "user:ada_company.com",
    "motivation": "The quarterly report",
    "requestedResource": {
        "owner": {"userRef": "user:olga_company.com"},
        "consumableInterface": {"urn": "urn:dmb:cmp:finance:sales:1:out", "displayName": "Sales"},
        "parentSystem": {"relativeLink": "/marketplace/sales"},
    },
    "duration": "30 days",
    "expires": "2027-01-01",
    "role": "data_engineer",
}


def test_a_ticket_says_who_asks_for_whom_to_what_why_and_for_how_long() -> None:
    title, description = words(asked(**WHOLE))
    assert title == "Grant access to Sales for user:john.doe_company.com"
    assert description.splitlines() == [
        "Give access.",
        "Who: user:john.doe_company.com",
        "To what: Sales, urn:dmb:cmp:finance:sales:1:out",
        "Owner: user:olga_company.com",
        "Shown at: /marketplace/sales",
        "Asked by: user:ada_company.com",
        "Why: The quarterly report",
        "For how long: 30 days",
        "Until: 2027-01-01",
        "Also in the request:",
        "    role: data_engineer",
        "",
        "Approve or reject this ticket; the answer goes to witboost by itself (request r-1).",
    ]


def test_a_revoke_says_so() -> None:
    title, description = words(asked(**{**WHOLE, "verb": "revoke"}))
    assert title.startswith("Revoke access to Sales")
    assert description.startswith("Take access away.\n")


def test_what_is_not_said_is_said_to_be_missing() -> None:
    title, description = words(asked())
    assert title == "Grant access"
    for line in ("Who: not said", "To what: not said", "Asked by: not said", "Why: not said"):
        assert line in description.splitlines()


@pytest.mark.parametrize(
    ("requester", "email"),
    [
        ("user:ada_company.com", "ada@company.com"),
        ("user:ada_elsewhere.com", ""),
        ("Ada Lovelace", ""),
        ("group:team_company.com", ""),
    ],
)
def test_the_address_of_who_asks_is_known_or_empty(requester: str, email: str) -> None:
    names = template_context(asked(requester=requester))
    assert names["requester_email"] == email


@settings(max_examples=60)
@given(TEXTS, LINES, some.sampled_from(OURS), some.sampled_from(sorted(WHOLE)))
def test_nobody_writes_a_line_that_looks_like_ours(
    text: str, end: str, ours: str, field: str
) -> None:
    typed = f"{text}{end}{ours} somebody else"
    changed = {**WHOLE, field: [typed] if field == "identities" else typed}
    title, description = words(asked(**changed))
    assert "\n" not in title
    lines = description.splitlines()
    assert sum(line.startswith(ours) for line in lines) <= 1
    assert f"{ours} somebody else" not in lines
    assert not any(character in title + description for character in "\x1b\r\u2028\u202e")


@settings(max_examples=60)
@given(TEXTS, some.one_of(some.just(""), LINES), some.sampled_from(OURS))
def test_nobody_names_a_field_like_a_line_of_ours(text: str, end: str, ours: str) -> None:
    name = ours.rstrip(":")
    fields = {name: "somebody else", f"x{text}{end}{name}": "nobody else"}
    _, description = words(asked(**WHOLE, **fields))
    lines = description.splitlines()
    assert sum(line.startswith(ours) for line in lines) == 1
    assert f"    {name}: somebody else" in lines


@settings(max_examples=60)
@given(TEXTS, some.sampled_from(["[code]", "[/CODE]", "{{ 7 * 7 }}", "{% raw %}"]))
def test_what_is_typed_is_shown_and_never_carried_out(text: str, code: str) -> None:
    title, description = words(asked(**{**WHOLE, "motivation": f"a{code}{text}", "role": code}))
    assert "[code]" not in (title + description).lower()
    assert "[/code]" not in (title + description).lower()
    if code.startswith("{"):
        assert f"Why: a{code}" in description


@settings(max_examples=30)
@given(TEXTS.map(lambda text: text * 200))
def test_long_texts_are_cut_where_a_reader_sees_it(text: str) -> None:
    title, description = words(asked(**{**WHOLE, "identities": [f"x{text}"], "motivation": text}))
    for said, limit in ((title, 120), (description, 4_000)):
        assert len(said.encode("utf-16-le")) // 2 <= limit
