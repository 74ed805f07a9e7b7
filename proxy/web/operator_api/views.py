"""What is shown of a request: to the client that sent it, and in full to operators."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.models import Record, StoredRequest
from proxy.domain.operator_actions import allowed_actions
from proxy.domain.remediation import REMEDIATION
from proxy.observability.alarms import AlarmRecord
from proxy.store.pauses import Pause
from proxy.witboost import fields as read

MASKED: Final = "(masked)"
"""In place of a field that the ticket system of a request may not see."""


def rfc3339(moment: int) -> str:
    """Return a moment in milliseconds since the epoch as text (RFC 3339, UTC)."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def status_view(entry: StoredRequest) -> Mapping[str, Any]:
    """Return what a client sees of its own request; what is not known is left out."""
    record, texts = entry.record, entry.details
    return _present(
        {
            "correlationId": record.id,
            "status": record.state,
            "decision": record.decision,
            "decidedBy": record.decided_by,
            "fulfilment": record.fulfilment,
            "ticketKey": record.ticket_key,
            "ticketUrl": texts.ticket_url,
            "reason": texts.reason,
        },
        {
            "admittedAt": record.admitted_at,
            "deadlineAt": record.deadline_at,
            "decidedAt": record.decided_at,
            "finishedAt": record.finished_at,
        },
    )


def summary_view(record: Record) -> Mapping[str, Any]:
    """Return one row of an operator's list."""
    return _present(
        {
            "correlationId": record.id,
            "status": record.state,
            "code": record.code,
            "decision": record.decision,
            "instance": record.instance,
            "client": record.client,
            "system": record.system,
            "ticketKey": record.ticket_key,
            "attempts": record.attempt,
        },
        {"admittedAt": record.admitted_at, "deadlineAt": record.deadline_at},
    )


def detail_view(
    entry: StoredRequest, *, allowed: Collection[str] | None = None
) -> Mapping[str, Any]:
    """Return a row of a list with who asks for what, where its ticket is, and why it waits.

    With `allowed`, what other fields of the hook call say is masked.
    """
    told = {"ticketUrl": entry.details.ticket_url, "reason": entry.details.reason}
    hook_call = _hook_call(entry.payload, allowed) if entry.payload else None
    asked = {"asked": _asked(hook_call["fields"])} if hook_call else {}
    return {**summary_view(entry.record), **_present(told, {}), **asked}


def operator_view(
    entry: StoredRequest,
    history: Sequence[Mapping[str, Any]],
    *,
    due: int | None = None,
    allowed: Collection[str] | None = None,
) -> Mapping[str, Any]:
    """Return everything about a request: record, texts, hook call, callback and history.

    `due` is when it is looked at next. With `allowed`, other fields of the hook call are masked.
    """
    record, texts = entry.record, entry.details
    following = due or 0 if record.state in ACTIVE else 0
    hook_call = _hook_call(entry.payload, allowed) if entry.payload else None
    more = _present(
        {
            "route": record.route,
            "requestId": record.request_id,
            "ticketId": record.ticket_id,
            "nativeStatus": record.native_status,
            "comment": texts.comment,
            "evidence": texts.evidence,
            "reads": record.polls,
            "missing": record.missing,
            "callbacks": record.callbacks_sent,
            "conflicts": record.conflicts,
            "returnsTo": record.resume_state,
            "whatToDo": REMEDIATION.get(record.code, "") if record.state in PARKED else "",
        },
        {
            "sentAt": record.sent_at,
            "fulfilBy": record.fulfil_by,
            "refusedAt": record.refused_at,
            "nextAt": following,
        },
    )
    return {
        **detail_view(entry, allowed=allowed),
        **status_view(entry),
        **more,
        "actions": allowed_actions(record),
        "hookCall": hook_call,
        "callback": orjson.loads(texts.callback) if texts.callback else None,
        "history": [{**line, "at": rfc3339(line["at"])} for line in history],
    }


def _hook_call(body: bytes, allowed: Collection[str] | None) -> Mapping[str, Any]:
    tree: dict[str, Any] = orjson.loads(body)
    if allowed is not None:
        tree["fields"] = {
            name: value if name in allowed else MASKED for name, value in tree["fields"].items()
        }
    return tree


def _asked(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return who asks for what, as far as fields that may be masked say it."""
    hidden = any(read.about_verb(name) for name, value in fields.items() if value == MASKED)
    return {
        "verb": MASKED if hidden else read.verb(fields),
        **_present(
            {
                "identities": read.identities(fields) or None,
                "requester": read.requester(fields),
                "resource": read.resource(fields),
            },
            {},
        ),
    }


def pause_view(name: str, pause: Pause) -> Mapping[str, Any]:
    """Return one paused destination."""
    return {
        "destination": name,
        "cause": pause.cause,
        "since": rfc3339(pause.since),
        "reason": pause.reason,
    }


def alarm_view(sounded: AlarmRecord) -> Mapping[str, Any]:
    """Return one alarm; its message says what happened and what to do."""
    return {
        "alarm": sounded.alarm,
        "at": rfc3339(sounded.at),
        "message": sounded.message,
        **_present(
            {
                "correlationId": sounded.correlation_id,
                "destination": sounded.destination,
            },
            {},
        ),
    }


def _present(fields: Mapping[str, Any], moments: Mapping[str, int]) -> dict[str, Any]:
    found = {name: value for name, value in fields.items() if value not in ("", None)}
    return found | {name: rfc3339(moment) for name, moment in moments.items() if moment}
