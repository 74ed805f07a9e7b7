"""Stored names stay as the release 0.1.0 wrote them, whatever the program calls them today."""

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import orjson

from proxy.domain.lifecycle import TRANSITIONS
from proxy.domain.models import Record
from proxy.store.codec import HISTORY_NAMES, RECORD_NAMES
from tests.store.releases.dump import make
from tests.store.releases.stage import NAMESPACE, Dump

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


async def test_the_present_program_writes_what_the_release_wrote() -> None:
    """What is rolled back is read by the release: same keys, fields, events and layout."""
    old, new = Dump.read(RELEASE), await make()
    assert kinds_of_keys(new) == kinds_of_keys(old)
    assert shape(new) == shape(old)
    assert new.keys[f"{NAMESPACE}:meta"][1] == old.keys[f"{NAMESPACE}:meta"][1]


def kinds_of_keys(dump: Dump) -> set[tuple[str, str]]:
    """Return the names of keys, without what differs from request to request, and their types."""
    return {
        (re.sub(r":\d+\}|(?<=:[rpxhu]:).*|(?<=:t:).*", "", key), kind)
        for key, (kind, _) in dump.keys.items()
    }


def shape(dump: Dump) -> dict[str, set[str]]:
    """Return every name that a dump contains, by where it is."""
    lines = history_lines(dump)
    return {
        "records": {name for record in dump.records().values() for name in record},
        "states": {record["state"] for record in dump.records().values()},
        "events": {str(line["event"]) for line in lines},
        "history": {name for line in lines for name in line},
    }


def test_other_names_in_a_dump_would_be_told() -> None:
    """The negative control for the comparison of dumps."""
    old = Dump.read(RELEASE)
    keys: dict[str, Any] = copy.deepcopy(dict(old.keys))
    record = next(name for name in keys if ":r:" in name)
    keys[record][1]["callbacks_sent"] = keys[record][1].pop("fence")
    keys["release:novelty"] = ("string", "x")
    assert shape(Dump(keys, old.tickets)) != shape(old)
    assert kinds_of_keys(Dump(keys, old.tickets)) != kinds_of_keys(old)


def history_lines(dump: Dump) -> list[dict[str, object]]:
    histories = [content for key, (_, content) in dump.keys.items() if ":h:" in key]
    return [orjson.loads(line) for history in histories for line in history]


def test_a_field_that_is_only_renamed_would_be_told() -> None:
    """The negative control: without the tables, the names of the program would be stored."""
    assert record_fields({"code": "reason_code"}) != RECORD_FIELDS
    assert history_fields({"by": "actor"}) != HISTORY_FIELDS
