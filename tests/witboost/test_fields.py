from typing import Any

import pytest

from proxy.domain.models import Verb
from proxy.witboost import fields as read

STRANGE: list[Any] = [None, True, "", "  ", [], {}, [[]], {"x": "y"}, [None, {"x": 1}], 1.5]


@pytest.mark.parametrize(
    ("fields", "verb"),
    [
        ({}, Verb.GRANT),
        ({"verb": "grant"}, Verb.GRANT),
        ({"verb": "revoke"}, Verb.REVOKE),
        ({"verb": "REVOKE"}, Verb.REVOKE),
        ({"verb": " Revoke "}, Verb.REVOKE),
        ({"type": "revoke"}, Verb.REVOKE),
        ({"spec": {"type": "revoke"}}, Verb.REVOKE),
        ({"action": "revoke-request:send"}, Verb.REVOKE),
        ({"action": "access-request:send"}, Verb.GRANT),
        ({"type": "table", "spec": {"type": "revoke"}}, Verb.REVOKE),
        ({"verb": "grant", "type": "revoke"}, Verb.GRANT),
        ({"verb": 5}, Verb.GRANT),
    ],
)
def test_the_verb_is_found(fields: dict[str, Any], verb: Verb) -> None:
    assert read.verb(fields) is verb


@pytest.mark.parametrize(
    ("fields", "identities"),
    [
        ({"identities": ["user:a_b.c", "group:d", "e"]}, ["user:a_b.c", "group:d", "e"]),
        ({"identities": "user:a"}, ["user:a"]),
        ({"identity": "a"}, ["a"]),
        ({"refs": ["a"]}, ["a"]),
        ({"subjects": [{"userRef": "user:a", "displayName": "A"}]}, ["user:a"]),
        ({"subjects": [{"displayName": "A"}]}, ["A"]),
        ({"identities": ["a", "a", "b"]}, ["a", "b"]),
        ({"identities": [], "refs": ["a"]}, ["a"]),
        ({"identities": [7]}, ["7"]),
        ({}, []),
    ],
)
def test_the_identities_are_found(fields: dict[str, Any], identities: list[str]) -> None:
    assert read.identities(fields) == identities


@pytest.mark.parametrize("key", ["motivation", "reason", "justification"])
def test_the_motivation_is_found(key: str) -> None:
    assert read.motivation({key: "line 1\nline 2"}) == "line 1\nline 2"


@pytest.mark.parametrize(
    ("fields", "requester"),
    [
        ({"requester": "user:a"}, "user:a"),
        ({"requester": {"userRef": "user:a", "displayName": "A"}}, "user:a"),
        ({"requester": {"displayName": "A"}}, "A"),
        ({"requestedBy": "a"}, "a"),
        ({"requester": {"userRef": "", "displayName": "A"}}, "A"),
    ],
)
def test_the_requester_is_found(fields: dict[str, Any], requester: str) -> None:
    assert read.requester(fields) == requester


PORT = {"urn": "urn:dmb:cmp:finance:sales:1:out", "displayName": "Sales", "type": "table"}
SYSTEM = {"urn": "urn:dmb:dp:finance:sales:1", "displayName": "Sales product"}


@pytest.mark.parametrize(
    ("fields", "resource"),
    [
        ({"resource": "urn:dmb:dp:finance:sales:1"}, "urn:dmb:dp:finance:sales:1"),
        ({"resource": {"displayName": "Sales"}}, "Sales"),
        (
            {"requestedResource": {"parentSystem": SYSTEM, "consumableInterface": PORT}},
            PORT["urn"],
        ),
        ({"requestedResource": {"parentSystem": SYSTEM, "owner": {}}}, SYSTEM["urn"]),
        ({"consumableInterface": PORT}, PORT["urn"]),
        ({"urn": "urn:x"}, "urn:x"),
        ({"resource": ["urn:x", "urn:y"]}, "urn:x, urn:y"),
    ],
)
def test_the_resource_is_found(fields: dict[str, Any], resource: str) -> None:
    assert read.resource(fields) == resource


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_values_are_empty(strange: Any) -> None:
    fields = dict.fromkeys(
        ("verb", "identities", "motivation", "requester", "resource", "spec"), strange
    )
    assert read.verb(fields) is Verb.GRANT
    assert read.identities(fields) == []
    assert [read.motivation(fields), read.requester(fields), read.resource(fields)] == [""] * 3


def test_what_has_no_end_is_not_followed() -> None:
    deep: Any = "a"
    for _ in range(30):
        deep = [deep]
    assert read.identities({"identities": deep}) == []
