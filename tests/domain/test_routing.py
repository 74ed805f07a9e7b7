"""Which route a request takes: a table, and that order decides."""

from typing import Any

import jmespath
import pytest

from proxy.domain.models import ApprovalRequest, Verb
from proxy.domain.route import Route
from proxy.domain.routing import FACTS, Rule, choose, facts


def route(name: str) -> Route:
    return Route(name, "desk", 1, "reject", "decision", 1, "hold", "dead")


def rule(name: str, when: str = "") -> Rule:
    return Rule(route(name), jmespath.compile(when).search if when else None, when)


def request(**changes: Any) -> ApprovalRequest:
    values: dict[str, Any] = {
        "correlation_id": "",
        "respond_to": "https://witboost.example.com/1",
        "fields": {"domain": "finance", "role": "engineer"},
        "verb": Verb.GRANT,
        "identities": ["user:ada"],
        "motivation": "why",
        "requester": "user:bob",
        "resource": "urn:dmb:cmp:sales:orders:1:port",
        "request_id": "",
    }
    return ApprovalRequest(**(values | changes))


RULES = [
    rule("revokes", "verb == 'revoke'"),
    rule("finance", "domain == 'finance'"),
    rule("engineers", "fields.role == 'engineer' && contains(identities, 'user:ada')"),
    rule("rest"),
]


@pytest.mark.parametrize(
    ("changes", "taken"),
    [
        ({"verb": Verb.REVOKE}, "revokes"),
        ({}, "finance"),
        ({"fields": {"role": "engineer"}}, "engineers"),
        ({"fields": {"role": "engineer"}, "identities": ["user:eve"]}, "rest"),
        ({"fields": {"domain": ["finance"]}}, "rest"),
    ],
)
def test_the_first_rule_that_applies_wins(changes: dict[str, Any], taken: str) -> None:
    found = choose(RULES, facts(request(**changes)))
    assert found is not None
    assert found.route.name == taken


def test_no_rule_may_apply() -> None:
    assert choose(RULES[:1], facts(request())) is None
    assert choose([], facts(request())) is None


@pytest.mark.parametrize(
    ("fields", "resource", "domain"),
    [
        ({"domain": "finance"}, "urn:dmb:cmp:sales:orders:1:port", "finance"),
        ({}, "urn:dmb:cmp:sales:orders:1:port", "sales"),
        ({}, "urn:dmb:dp:hr:people:0", "hr"),
        ({"domain": None}, "sales.orders", ""),
    ],
)
def test_the_domain_is_a_field_or_stands_in_the_urn(
    fields: dict[str, Any], resource: str, domain: str
) -> None:
    assert facts(request(fields=fields, resource=resource))["domain"] == domain


def test_every_fact_is_announced() -> None:
    assert set(facts(request())) == set(FACTS)
