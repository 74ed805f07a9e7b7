"""Routing: rules in order, of which the first that applies gives a request its route. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.domain.models import ApprovalRequest
from proxy.domain.route import Route

Condition = Callable[[Mapping[str, Any]], Any]
"""Returns a true value for the facts of a request to which a rule applies."""

FACTS: Final = ("verb", "requester", "identities", "resource", "domain", "motivation", "fields")
"""The facts that a condition may use."""

UNROUTABLE: Final = "unroutable"
"""The name of the route that holds a request to which no rule applies."""

_URN: Final = re.compile(r"urn:dmb:[a-z]+:([^:]+):")


@dataclass(frozen=True, slots=True)
class Rule:
    """A route and its condition; without one it always applies. `when` is the condition's text."""

    route: Route
    applies: Condition | None = None
    when: str = ""


def facts(request: ApprovalRequest) -> Mapping[str, Any]:
    """Return the facts for conditions: witboost's fields, and our reading of them.

    `domain` is the field of that name, else the domain in the resource's URN
    (`urn:dmb:cmp:finance:...`), else empty.
    """
    domain = request.fields.get("domain")
    if not isinstance(domain, str):
        urn = _URN.match(request.resource)
        domain = urn[1] if urn else ""
    return {
        "verb": request.verb.value,
        "requester": request.requester,
        "identities": list(request.identities),
        "resource": request.resource,
        "domain": domain,
        "motivation": request.motivation,
        "fields": request.fields,
    }


def choose(rules: Sequence[Rule], facts: Mapping[str, Any]) -> Rule | None:
    """Return the first rule that applies to these facts, or None."""
    return next((rule for rule in rules if rule.applies is None or rule.applies(facts)), None)
