"""What is shown of a request: to the client that sent it, and in full to operators."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from proxy.domain.advice import ADVICE
from proxy.domain.events import ASIDE
from proxy.domain.models import Entry, Record
from proxy.store.shared import Pause

MASKED: Final = "(masked)"
"""In place of a field that the ticket system of a request may not see."""


def rfc3339(moment: int) -> str:
    """Return a moment in milliseconds since the epoch as text (RFC 3339, UTC)."""
    text = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def status_view(entry: Entry) -> Mapping[str, Any]:
    """Return what a client sees of its own request; what is not known is left out."""
    record, texts = entry.record, entry.texts
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


def operator_view(
    entry: Entry, history: Sequence[Mapping[str, Any]], *, allowed: Collection[str] | None = None
) -> Mapping[str, Any]:
    """Return everything about a request: record, texts, hook call, callback and history.

    With `allowed`, other fields of the hook call are shown masked.
    """
    record, texts = entry.record, entry.texts
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
            "callbacks": record.calls,
            "conflicts": record.conflicts,
            "returnsTo": record.back,
            "whatToDo": ADVICE.get(record.code, "") if record.state in ASIDE else "",
        },
        {"sentAt": record.sent_at, "fulfilBy": record.fulfil_by, "refusedAt": record.refused_at},
    )
    return {
        **summary_view(record),
        **status_view(entry),
        **more,
        "hookCall": _hook_call(entry.payload, allowed) if entry.payload else None,
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


def pause_view(name: str, pause: Pause) -> Mapping[str, Any]:
    """Return one paused destination."""
    return {
        "destination": name,
        "cause": pause.cause,
        "since": rfc3339(pause.since),
        "reason": pause.reason,
    }


def _present(fields: Mapping[str, Any], moments: Mapping[str, int]) -> dict[str, Any]:
    found = {name: value for name, value in fields.items() if value not in ("", None)}
    return found | {name: rfc3339(moment) for name, moment in moments.items() if moment}
