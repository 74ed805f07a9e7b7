"""Records to Redis fields and back; history entries as JSON."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, get_args, get_type_hints

import orjson

from proxy.domain.events.base import Event
from proxy.domain.models import Details, Record, State, Ticket
from proxy.domain.replace import replace


def _reader(hint: Any) -> type[int] | type[str] | type[StrEnum]:
    """Return the type that parses a field's text: `int`, `str` or an enum, optional or not."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return kinds[0]  # type: ignore[no-any-return]


ADMITTED: Final = "Admitted"

RECORD_NAMES: Final[Mapping[str, str]] = {
    "callbacks_sent": "calls",
    "content_digest": "content",
    "deadline_fired": "fired",
    "decided_without_ticket": "ours",
    "resume_state": "back",
    "ticket_notice_due": "untold",
    "url_digest": "url",
    "waited_before_code": "before",
}
"""Stored names of the `Record` fields that have another name in Python; they never change."""

HISTORY_NAMES: Final[Mapping[str, str]] = {"deadline_fired": "fired", "without_ticket": "ours"}
"""The same for fields of events, in histories and audit files."""

_NO_HISTORY: Final = {"at", "body"}

_READERS: Final = {name: _reader(hint) for name, hint in get_type_hints(Record).items()}
_STORED: Final = {
    RECORD_NAMES.get(name, name).encode(): (name, read) for name, read in _READERS.items()
}
_TEXTS: Final = tuple(field.name for field in dataclasses.fields(Details))
_NO_TEXTS: Final = Details()
_BARE: Final = Record("", State.RECEIVED, "", "", "", "", "", 0, 0)


def write_record(record: Record, before: Record = _BARE) -> list[tuple[str, str]]:
    """Return the fields that differ from `before`; an empty value unsets its field."""
    old, new = vars(before), vars(record)
    # most fields are the same object in both, so their values are rarely compared
    return [
        (RECORD_NAMES.get(name, name), _text(value))
        for name, value in new.items()
        if value is not old[name] and value != old[name]
    ]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    names = iter(flat)
    return {name.decode(): value.decode() for name, value in zip(names, names, strict=True)}


def read_record(flat: Sequence[bytes]) -> Record:
    """Return the record in an HGETALL answer; fields of newer or older versions are ignored."""
    values = iter(flat)
    fields: dict[str, Any] = {}
    for stored_name, value in zip(values, values, strict=True):
        if stored_name in _STORED:
            name, read = _STORED[stored_name]
            fields[name] = read(value.decode())
    return replace(_BARE, **fields)


def read_texts(flat: Sequence[bytes]) -> Details:
    """Return the texts in an HGETALL answer."""
    texts = _pairs(flat)
    return Details(**{name: texts[name] for name in _TEXTS if name in texts})


def write_texts(texts: Details, before: Details = _NO_TEXTS) -> list[tuple[str, bytes]]:
    """Return the texts that differ from `before`."""
    old = vars(before)
    return [(name, text.encode()) for name, text in vars(texts).items() if text != old[name]]


def admission_entry(record: Record) -> Mapping[str, Any]:
    """Return the first line of a request's history, as `admit.lua` writes it into the audit."""
    return {
        "at": record.admitted_at,
        "event": ADMITTED,
        "state": State.RECEIVED.value,
        "by": f"{record.instance}/{record.client}",
    }


def history_entry(event: Event, record: Record) -> bytes:
    """Return one line of a request's history: the event, its time, and the state after it."""
    entry: dict[str, Any] = {
        "at": event.at,
        "event": event.event_code,
        "state": record.state,
    }
    kind: Any = type(event)  # mypy takes a hashable object's class for unhashable
    for name, stored in _history_fields(kind):
        if value := getattr(event, name):
            entry[stored] = _ticket(value) if isinstance(value, Ticket) else value
    return orjson.dumps(entry)


@functools.cache
def _history_fields(kind: Any) -> tuple[tuple[str, str], ...]:
    """Return the fields of an event that a history contains, each with its stored name."""
    names = (field.name for field in dataclasses.fields(kind))
    return tuple((name, HISTORY_NAMES.get(name, name)) for name in names if name not in _NO_HISTORY)


def _ticket(ticket: Ticket) -> Mapping[str, str]:
    entry = {"id": ticket.id, "key": ticket.key, "native_status": ticket.native_status}
    return entry | ({"note": ticket.note} if ticket.note else {})


def refs(record: Record) -> set[str]:
    """Return the index entries of a record's ticket: SYSTEM:ID and SYSTEM:KEY."""
    return {f"{record.system}:{ref}" for ref in (record.ticket_id, record.ticket_key) if ref}


def ref_changes(before: Record, after: Record) -> str:
    """Return the changes of the ticket index between two versions of a record, see `ref_lines`."""
    old, new = refs(before), refs(after)
    return ref_lines(new - old, old - new) if new != old else ""


def ref_lines(added: Iterable[str], removed: Iterable[str]) -> str:
    """Return changes of the ticket index as the Lua scripts take them, one per line."""
    return "\n".join([*added, *(f"!{ref}" for ref in removed)])
