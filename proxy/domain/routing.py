"""Which route a request takes: rules in order, the first that applies wins. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.domain.models import ApprovalRequest
from proxy.domain.route import Route

Condition = Callable[[Mapping[str, Any]], Any]
"""Finds something true in the facts of a request where a rule applies."""

FACTS: Final = ("verb", "requester", "identities", "resource", "domain", "motivation", "fields")
"""What a condition may look at."""

UNROUTABLE: Final = "unroutable"
"""The name of the route that holds what no rule takes."""

_URN: Final = re.compile(r"urn:dmb:[a-z]+:([^:]+):")


@dataclass(frozen=True, slots=True)
class Rule:
    """A route and when it applies: always, where it has no condition. `when` is as written."""

    route: Route
    applies: Condition | None = None
    when: str = ""


def facts(request: ApprovalRequest) -> Mapping[str, Any]:
    """Return what conditions see: witboost's fields, and what we understood of them.

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


def choose(rules: Sequence[Rule], known: Mapping[str, Any]) -> Rule | None:
    """Return the first rule that applies to these facts; None where none does."""
    return next((it for it in rules if it.applies is None or it.applies(known)), None)
