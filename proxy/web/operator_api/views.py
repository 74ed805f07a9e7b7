"""Requests as JSON: for the client that sent one, and in full for operators."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.models import Details, Record, StoredRequest
from proxy.domain.operator_actions import allowed_actions
from proxy.domain.remediation import REMEDIATION
from proxy.store.pauses import Pause
from proxy.web.operator_api.models import AccessAsked, FullRequest, PausedDestination, Row, Status
from proxy.witboost import fields as read

MASKED: Final = "(masked)"
"""In place of a field that the ticket system of a request may not see."""


def status_view(entry: StoredRequest) -> Status:
    """Return the status of a request."""
    return Status.model_validate(_fields(entry.record, entry.details))


def summary_view(record: Record) -> Row:
    """Return a row of the list without details."""
    return Row.model_validate(_fields(record))


def detail_view(entry: StoredRequest, *, allowed: Collection[str] | None = None) -> Row:
    """Return a row of the list with who asks for what, where its ticket is, and why it waits.

    With `allowed`, the other fields of the hook call are masked.
    """
    hook_call = _hook_call(entry.payload, allowed)
    access = _access(hook_call["fields"]) if hook_call else None
    return Row.model_validate({**_fields(entry.record, entry.details), "access": access})


def operator_view(
    entry: StoredRequest,
    history: Sequence[Mapping[str, Any]],
    *,
    due: int | None = None,
    allowed: Collection[str] | None = None,
) -> FullRequest:
    """Return everything about a request: record, details, hook call, callback and history.

    `due` is when it is processed next. With `allowed`, the other fields of the hook call are
    masked.
    """
    record, details = entry.record, entry.details
    hook_call = _hook_call(entry.payload, allowed)
    more = {
        "access": _access(hook_call["fields"]) if hook_call else None,
        "reads": record.polls,
        "callbacks": record.callbacks_sent,
        "returns_to": record.resume_state,
        "what_to_do": REMEDIATION.get(record.code, "") if record.state in PARKED else "",
        "next_at": due or 0 if record.state in ACTIVE else 0,
        "actions": allowed_actions(record),
        "hook_call": hook_call,
        "callback": orjson.loads(details.callback) if details.callback else None,
        "history": history,
    }
    return FullRequest.model_validate({**_fields(record, details), **more})


def _fields(record: Record, details: Details | None = None) -> dict[str, Any]:
    """Return the fields of a request by the names that they have in the models."""
    named = {"correlation_id": record.id, "status": record.state, "attempts": record.attempt}
    return {**vars(record), **(vars(details) if details else {}), **named}


def _hook_call(body: bytes, allowed: Collection[str] | None) -> dict[str, Any] | None:
    if not body:
        return None
    tree: dict[str, Any] = orjson.loads(body)
    if allowed is not None:
        tree["fields"] = {
            name: value if name in allowed else MASKED for name, value in tree["fields"].items()
        }
    return tree


def _access(fields: Mapping[str, Any]) -> AccessAsked:
    """Return the access that a request is about; fields that are masked stay masked."""
    hidden = any(read.about_verb(name) for name, value in fields.items() if value == MASKED)
    return AccessAsked(
        verb=MASKED if hidden else read.verb(fields).value,
        identities=read.identities(fields),
        requester=read.requester(fields),
        resource=read.resource(fields),
    )


def paused_view(pauses: Mapping[str, Pause]) -> list[PausedDestination]:
    """Return the destinations that are paused."""
    return [
        PausedDestination(
            destination=name, cause=pause.cause, since=pause.since, reason=pause.reason
        )
        for name, pause in pauses.items()
        if pause.since
    ]
