"""The declarations that tests start from."""

from typing import Any

import yaml

from proxy.domain.models import ApprovalRequest, Verb
from proxy.tickets.rest.declaration import RestDeclaration

DESK = """
kind: rest
base_url: http://127.0.0.1:1
create:
  path: /api/tickets
  headers: {Idempotency-Key: "{{ correlation_id }}"}
  body:
    title: "Access to {{ resource }} for {{ identities | join(', ') }}"
    description: "{{ motivation }}"
    correlation_id: "{{ correlation_id }}"
  ticket: ticket
find:
  path: /api/tickets
  query: {correlation_id: "{{ correlation_id }}"}
  tickets: tickets
  match: correlation_id
read: {path: "/api/tickets/{{ ticket.id }}", ticket: ticket}
comment: {path: "/api/tickets/{{ ticket.id }}/comments", body: {text: "{{ text }}"}}
cancel: {path: "/api/tickets/{{ ticket.id }}/cancel", body: {reason: "{{ reason }}"}}
ticket:
  key: key
  url: url
  decided_by: decided_by
  deciders: "[decided_by, decided_by_email]"
  comment: decision_comment
  decided_at: decided_at
  created: created
decision:
  new: pending
  in_review: pending
  approved: approved
  rejected: rejected
  cancelled: cancelled
  done: approved
fulfilment: {approved: waiting, done: fulfilled}
limits: {title: 120}
settle: 1s
events:
  auth: hmac
  header: X-Desk-Signature
  prefix: "sha256="
  signed: "{timestamp}.{body}"
  timestamp_header: X-Desk-Timestamp
  id_header: X-Desk-Event-Id
  ticket: ticket.id
"""


def desk_mapping() -> dict[str, Any]:
    """Return the mapping that describes the simulated desk, free to be changed."""
    mapping: dict[str, Any] = yaml.safe_load(DESK)
    return mapping


def declaration(**changes: Any) -> RestDeclaration:
    """Return the desk's declaration with some parts replaced; None takes a part out."""
    mapping = desk_mapping() | changes
    return RestDeclaration.model_validate(
        {name: part for name, part in mapping.items() if part is not None}
    )


def approval_request(correlation_id: str = "r-1", **changes: Any) -> ApprovalRequest:
    """Return a request like those that witboost sends."""
    values: dict[str, Any] = {
        "respond_to": "https://witboost.example.com/callback",
        "fields": {"items": ["a"], "cost": 7},
        "verb": Verb.GRANT,
        "identities": ("user:ada", "user:bob"),
        "motivation": "I need it",
        "requester": "user:ada",
        "resource": "sales.orders",
        "request_id": "hook-1",
    }
    return ApprovalRequest(correlation_id=correlation_id, **(values | changes))
