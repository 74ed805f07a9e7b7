"""Records to Redis fields and back; history entries as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, get_args, get_type_hints

import orjson

from proxy.domain.events import Event
from proxy.domain.models import Record, State, Texts, Ticket
from proxy.domain.values import replace

LONGEST = 64
"""Bytes; a longer value would turn the record's compact hash into a table (+700 B a record)."""


def _reader(hint: Any) -> type[int] | type[str] | type[StrEnum]:
    """Return what turns a field's text into its value, for `int`, `str`, enums and optionals."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    return kinds[0]  # type: ignore[no-any-return]


ADMITTED: Final = "Admitted"
_READERS: Final = {name: _reader(hint) for name, hint in get_type_hints(Record).items()}
_TEXTS: Final = tuple(field.name for field in dataclasses.fields(Texts))
_BARE: Final = Record("", State.RECEIVED, "", "", "", "", "", 0, 0)


def short(text: str) -> str:
    """Cut a text at what a record's field may hold, on a character's border."""
    if len(text) * 4 <= LONGEST:  # no character takes more than four bytes
        return text
    return text.encode()[:LONGEST].decode(errors="ignore")


def write_record(record: Record, before: Record = _BARE) -> list[tuple[str, str]]:
    """Return the fields that differ from `before`; an empty value unsets its field."""
    old, new = vars(before), vars(record)
    return [(name, _text(new[name])) for name in _READERS if new[name] != old[name]]


def _text(value: object) -> str:
    return "" if value is None else short(str(value)) if isinstance(value, str) else str(value)


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    names = iter(flat)
    return {name.decode(): value.decode() for name, value in zip(names, names, strict=True)}


def read_record(flat: Sequence[bytes]) -> Record:
    """Return the record in an HGETALL answer; fields of newer or older versions are ignored."""
    found = _pairs(flat)
    fields: dict[str, Any] = {
        name: read(found[name]) for name, read in _READERS.items() if name in found
    }
    return replace(_BARE, **fields)


def read_texts(flat: Sequence[bytes]) -> Texts:
    """Return the texts in an HGETALL answer."""
    found = _pairs(flat)
    return Texts(**{name: found[name] for name in _TEXTS if name in found})


def write_texts(texts: Texts, before: Texts) -> list[tuple[str, str]]:
    """Return the texts that differ."""
    return [
        (name, getattr(texts, name))
        for name in _TEXTS
        if getattr(texts, name) != getattr(before, name)
    ]


def admission_entry(record: Record) -> Mapping[str, Any]:
    """Return the first line of a request's history, as `admit.lua` writes it into the audit."""
    return {
        "at": record.admitted_at,
        "event": ADMITTED,
        "state": State.RECEIVED.value,
        "by": f"{record.instance}/{record.client}",
    }


def history_entry(event: Event, record: Record) -> bytes:
    """Return one line of a request's history: what happened, when, and the state it led to."""
    entry: dict[str, Any] = {
        "at": event.at,
        "event": type(event).__name__,
        "state": record.state,
    }
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if field.name in {"at", "body"} or value in ("", None, False, 0):
            continue
        entry[field.name] = _ticket(value) if isinstance(value, Ticket) else value
    return orjson.dumps(entry)


def _ticket(ticket: Ticket) -> Mapping[str, str]:
    told = {"id": ticket.id, "key": ticket.key, "native_status": ticket.native_status}
    return told | ({"note": ticket.note} if ticket.note else {})
