"""Requests as JSON: for the client that sent one, and in full for operators."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.models import Record, StoredRequest
from proxy.domain.operator_actions import allowed_actions
from proxy.domain.remediation import REMEDIATION
from proxy.store.pauses import Pause
from proxy.web.operator_api.models import Asked, FullRequest, PausedDestination, Row, Status
from proxy.witboost import fields as read

MASKED: Final = "(masked)"
"""In place of a field that the ticket system of a request may not see."""


def status_view(entry: StoredRequest) -> Status:
    """Return the status of a request."""
    record, details = entry.record, entry.details
    return Status(
        correlation_id=record.id,
        status=record.state,
        decision=record.decision,
        decided_by=record.decided_by,
        fulfilment=record.fulfilment,
        ticket_key=record.ticket_key,
        ticket_url=details.ticket_url,
        reason=details.reason,
        admitted_at=record.admitted_at,
        deadline_at=record.deadline_at,
        decided_at=record.decided_at,
        finished_at=record.finished_at,
    )


def summary_view(record: Record) -> Row:
    """Return a row of the list without details."""
    return Row(
        correlation_id=record.id,
        status=record.state,
        code=record.code,
        decision=record.decision,
        instance=record.instance,
        client=record.client,
        system=record.system,
        ticket_key=record.ticket_key,
        attempts=record.attempt,
        admitted_at=record.admitted_at,
        deadline_at=record.deadline_at,
    )


def detail_view(entry: StoredRequest, *, allowed: Collection[str] | None = None) -> Row:
    """Return a row of the list with who asks for what, where its ticket is, and why it waits.

    With `allowed`, the other fields of the hook call are masked.
    """
    hook_call = _hook_call(entry.payload, allowed)
    details = {
        "asked": _asked(hook_call["fields"]) if hook_call else None,
        "ticket_url": entry.details.ticket_url,
        "reason": entry.details.reason,
    }
    return summary_view(entry.record).model_copy(update=details)


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
    parts = dict(detail_view(entry, allowed=allowed)) | dict(status_view(entry))
    return FullRequest(
        **parts,
        route=record.route,
        request_id=record.request_id,
        ticket_id=record.ticket_id,
        native_status=record.native_status,
        comment=details.comment,
        evidence=details.evidence,
        reads=record.polls,
        missing=record.missing,
        callbacks=record.callbacks_sent,
        conflicts=record.conflicts,
        returns_to=record.resume_state,
        what_to_do=REMEDIATION.get(record.code, "") if record.state in PARKED else "",
        sent_at=record.sent_at,
        fulfil_by=record.fulfil_by,
        refused_at=record.refused_at,
        next_at=due or 0 if record.state in ACTIVE else 0,
        actions=allowed_actions(record),
        hook_call=_hook_call(entry.payload, allowed),
        callback=orjson.loads(details.callback) if details.callback else None,
        history=[dict(line) for line in history],
    )


def _hook_call(body: bytes, allowed: Collection[str] | None) -> dict[str, Any] | None:
    if not body:
        return None
    tree: dict[str, Any] = orjson.loads(body)
    if allowed is not None:
        tree["fields"] = {
            name: value if name in allowed else MASKED for name, value in tree["fields"].items()
        }
    return tree


def _asked(fields: Mapping[str, Any]) -> Asked:
    """Return who asks for what; fields that are masked stay masked."""
    hidden = any(read.about_verb(name) for name, value in fields.items() if value == MASKED)
    return Asked(
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
