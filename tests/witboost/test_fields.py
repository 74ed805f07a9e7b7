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


WHOLE = {
    "owner": {"userRef": "user:olga", "displayName": "Olga"},
    "consumableInterface": PORT,
    "parentSystem": {**SYSTEM, "relativeLink": "/marketplace/sales"},
    "environment": "production",
}
"""A resource as in witboost's notification about access requests."""

INDENT = [{"id": "db-1", "displayName": "Sales", "owner": "olga"}]


@pytest.mark.parametrize(
    ("fields", "urn", "name", "owner", "link"),
    [
        ({"requestedResource": WHOLE}, PORT["urn"], "Sales", "user:olga", "/marketplace/sales"),
        ({"requested_resource": WHOLE}, PORT["urn"], "Sales", "user:olga", "/marketplace/sales"),
        ({"resource": "urn:dmb:dp:finance:sales:1"}, "urn:dmb:dp:finance:sales:1", "", "", ""),
        ({"resource": "Sales", "owner": "olga"}, "", "Sales", "olga", ""),
        ({"urn": "urn:x", "resourceName": "Sales"}, "urn:x", "Sales", "", ""),
        ({"consumableInterface": PORT, "url": "https://w"}, PORT["urn"], "Sales", "", "https://w"),
        ({"resources": INDENT}, "", "Sales", "olga", ""),
        ({"resource": "Sales", "link": "javascript:alert(1)"}, "", "Sales", "", ""),
        ({"resource": {"parentSystem": SYSTEM}}, SYSTEM["urn"], "Sales product", "", ""),
        ({}, "", "", "", ""),
    ],
)
def test_the_properties_of_the_resource_are_found(
    fields: dict[str, Any], urn: str, name: str, owner: str, link: str
) -> None:
    assert read.resource_urn(fields) == urn
    assert read.resource_name(fields) == name
    assert read.resource_owner(fields) == owner
    assert read.resource_link(fields) == link


@pytest.mark.parametrize(
    ("fields", "duration", "expires"),
    [
        ({"duration": "30 days"}, "30 days", ""),
        ({"accessDuration": 30}, "30", ""),
        ({"defaultDuration": {"seconds": 3600, "nanos": 0}}, "3600 seconds", ""),
        ({"labels": {"indent.com/time/duration": "1h"}}, "1h", ""),
        ({"meta": {"labels": {"indent.com/time/duration": "-1ns"}}}, "", ""),
        ({"labels": {"indent.com/time/expires": "2027-01-01"}}, "", "2027-01-01"),
        ({"meta": {"expireTime": "2027-01-01"}}, "", "2027-01-01"),
        ({"end_date": "2027-01-01"}, "", "2027-01-01"),
        ({"expiresAt": "2027-01-01", "until": "never"}, "", "2027-01-01"),
        ({"labels": ["urgent"], "meta": 3}, "", ""),
    ],
)
def test_duration_and_end_are_found(fields: dict[str, Any], duration: str, expires: str) -> None:
    assert (read.duration(fields), read.expires(fields)) == (duration, expires)


@pytest.mark.parametrize(
    "spelling", ["requestedBy", "requested_by", "RequestedBy", "requested-by", "REQUESTED_BY"]
)
def test_case_and_separators_of_names_do_not_matter(spelling: str) -> None:
    assert read.requester({spelling: "ada"}) == "ada"
    assert read.requester({"requester": {"user_ref": "user:ada"}}) == "user:ada"


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_values_are_empty(strange: Any) -> None:
    fields = dict.fromkeys(
        (
            *("verb", "identities", "motivation", "requester", "resource", "spec", "owner"),
            *("link", "duration", "expires", "labels", "meta"),
        ),
        strange,
    )
    assert read.verb(fields) is Verb.GRANT
    assert read.identities(fields) == []
    readers = (read.motivation, read.requester, read.resource, read.resource_urn, read.duration)
    more = (read.resource_name, read.resource_owner, read.resource_link, read.expires)
    assert [reader(fields) for reader in (*readers, *more)] == [""] * 9


def test_deep_nesting_is_not_followed() -> None:
    deep: Any = "a"
    for _ in range(30):
        deep = [deep]
    assert read.identities({"identities": deep}) == []
