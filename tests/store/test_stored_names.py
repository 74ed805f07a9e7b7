"""Stored names stay as the release 0.1.0 wrote them, whatever the program calls them today."""

import dataclasses
from pathlib import Path

import orjson

from proxy.domain.lifecycle import TRANSITIONS
from proxy.domain.models import Record
from proxy.store.codec import HISTORY_NAMES, RECORD_NAMES
from tests.store.releases.stage import Dump

RELEASE = Path(__file__).parent / "releases" / "0.1.0.json"

EVENT_CODES = {
    *("Sending", "Postponed", "NotSent", "Uncalled", "Missing", "Opened", "Read", "Decided"),
    *("FulfilmentAwaited", "Fulfilled", "CallingBack", "CalledBack", "Died", "Held"),
    *("Announced", "Told", "Retried", "Refreshed", "Rerouted", "Doubted", "Restored"),
}

RECORD_FIELDS = {
    *("id", "state", "instance", "system", "route", "client", "content", "admitted_at"),
    *("deadline_at", "url", "request_id", "run_id", "fence", "attempt", "waited", "before"),
    *("sent_at", "ticket_id", "ticket_key", "native_status", "polls", "missing", "decision"),
    *("decided_by", "decided_at", "fulfilment", "fulfil_by", "calls", "conflicts", "ours"),
    *("untold", "announced", "key_fields", "refused_at", "refusals", "fired", "back", "code"),
    *("finished_at", "version"),
}

HISTORY_FIELDS = {
    *("code", "reason", "delay", "refused", "ticket", "how", "decision", "by", "native_status"),
    *("comment", "evidence", "ours", "fulfilment", "note", "write_back", "fired", "no_ticket"),
    *("route", "system", "run_id"),
}

LUA_FIELDS = {"op", "holder", "leased", "wake", "bucket"}
"""Fields of a record that only the atomic steps in Lua write."""


def record_fields(renamed: dict[str, str]) -> set[str]:
    return {renamed.get(field.name, field.name) for field in dataclasses.fields(Record)}


def history_fields(renamed: dict[str, str]) -> set[str]:
    names = {field.name for kind in TRANSITIONS for field in dataclasses.fields(kind)}
    return {renamed.get(name, name) for name in names} - {"at", "body"}


def test_every_event_has_the_code_that_it_always_had() -> None:
    codes = [kind.event_code for kind in TRANSITIONS]
    assert sorted(codes) == sorted(EVENT_CODES)


def test_record_fields_are_stored_under_the_names_of_the_release() -> None:
    assert record_fields(dict(RECORD_NAMES)) == RECORD_FIELDS


def test_history_fields_are_stored_under_the_names_of_the_release() -> None:
    assert history_fields(dict(HISTORY_NAMES)) == HISTORY_FIELDS


def test_the_release_wrote_no_other_names() -> None:
    dump = Dump.read(RELEASE)
    stored = {name for record in dump.records().values() for name in record}
    assert stored <= RECORD_FIELDS | LUA_FIELDS
    lines = history_lines(dump)
    assert lines
    assert {line["event"] for line in lines} <= EVENT_CODES
    assert {name for line in lines for name in line} <= HISTORY_FIELDS | {"at", "event", "state"}


def history_lines(dump: Dump) -> list[dict[str, object]]:
    histories = [content for key, (_, content) in dump.keys.items() if ":h:" in key]
    return [orjson.loads(line) for history in histories for line in history]


def test_a_field_that_is_only_renamed_would_be_told() -> None:
    """The negative control: without the tables, the names of the program would be stored."""
    assert record_fields({"code": "reason_code"}) != RECORD_FIELDS
    assert history_fields({"by": "actor"}) != HISTORY_FIELDS
