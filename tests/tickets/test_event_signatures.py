import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some
from multidict import CIMultiDict

from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.reader import EventReader

NOW = 1_800_000_000_000
SECONDS = str(NOW // 1_000)
BODY = b'{"ticket":{"id":7,"key":"DESK-7"},"id":"e-1"}'
SECRET = b"k\xc3\xa9y"
HMAC: dict[str, Any] = {
    "auth": "hmac",
    "header": "X-Signature",
    "prefix": "sha256=",
    "ticket": ["ticket.id", "ticket.key"],
}
TIMED = HMAC | {
    "signed": "{id}.{timestamp}.{body}",
    "timestamp_header": "X-Timestamp",
    "id_header": "X-Id",
}


def read(
    events: dict[str, Any],
    headers: Mapping[str, str],
    body: bytes = BODY,
    *,
    secrets: tuple[bytes, ...] = (SECRET,),
    now: int = NOW,
) -> TicketHint:
    return EventReader(Events.model_validate(events), lambda: secrets).read(headers, body, now=now)


def signed(message: bytes, *, secret: bytes = SECRET, algorithm: str = "sha256") -> str:
    return hmac.new(secret, message, algorithm).hexdigest()


def timed(body: bytes = BODY, *, at: str = SECONDS, event: str = "e-1") -> dict[str, str]:
    proof = signed(f"{event}.{at}.".encode() + body)
    return {"x-signature": f"sha256={proof}", "x-timestamp": at, "x-id": event}


@given(some.binary(max_size=200), some.binary(min_size=1, max_size=80))
@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_what_the_standard_library_signs_is_accepted_and_nothing_else(
    algorithm: str, encoding: str, filling: bytes, secret: bytes
) -> None:
    body = orjson.dumps({"ticket": {"id": 7}, "filling": filling.hex()})
    mac = hmac.digest(secret, body, algorithm)
    proof = mac.hex() if encoding == "hex" else base64.b64encode(mac).decode()
    events = HMAC | {"algorithm": algorithm, "encoding": encoding, "prefix": "v="}
    assert read(events, {"X-Signature": f"v={proof}"}, body, secrets=(secret,)).refs == ("7",)
    for wrong in (body + b" ", body[:-1]):
        with pytest.raises(UnauthorizedError):
            read(events, {"X-Signature": f"v={proof}"}, wrong, secrets=(secret,))
    with pytest.raises(UnauthorizedError):
        read(events, {"X-Signature": f"v={proof}"}, body, secrets=(secret + b"x",))


def test_any_live_secret_will_do_and_an_old_one_will_not() -> None:
    proof = {"X-Signature": "sha256=" + signed(BODY, secret=b"new")}
    assert read(HMAC, proof, secrets=(b"old", b"new")).refs
    with pytest.raises(UnauthorizedError):
        read(HMAC, proof, secrets=(b"old",))


def test_hexadecimal_digits_may_be_capitals_but_the_prefix_may_not_change() -> None:
    digits = signed(BODY).upper()
    assert read(HMAC, {"X-Signature": f"sha256={digits}"}).refs
    with pytest.raises(UnauthorizedError):
        read(HMAC, {"X-Signature": f"SHA256={digits}"})


def test_one_of_several_signatures_in_the_header_will_do() -> None:
    events = HMAC | {"prefix": "v1,", "encoding": "base64"}
    good = base64.b64encode(hmac.digest(SECRET, BODY, "sha256")).decode()
    assert read(events, {"X-Signature": f"v1,AAAA v1a,xyz v1,{good}"}).refs


def test_the_signature_covers_timestamp_and_id() -> None:
    assert read(TIMED, timed()).refs
    for change in ({"x-timestamp": str(int(SECONDS) + 1)}, {"x-id": "e-2"}):
        with pytest.raises(UnauthorizedError):
            read(TIMED, timed() | change)


@pytest.mark.parametrize("missing", ["x-signature", "x-timestamp", "x-id"])
def test_a_missing_or_doubled_header_is_refused(missing: str) -> None:
    headers = timed()
    doubled = CIMultiDict([*headers.items(), (missing, headers[missing])])
    del headers[missing]
    with pytest.raises(UnauthorizedError):
        read(TIMED, headers)
    with pytest.raises(UnauthorizedError):
        read(TIMED, doubled)


@pytest.mark.parametrize(
    ("offset", "fine"), [(-300_001, False), (-300_000, True), (300_000, True), (300_001, False)]
)
def test_the_tolerance_counts_both_ways(*, offset: int, fine: bool) -> None:
    if fine:
        assert read(TIMED, timed(), now=NOW + offset).refs
        return
    with pytest.raises(UnauthorizedError):
        read(TIMED, timed(), now=NOW + offset)


@pytest.mark.parametrize(
    ("shape", "at"),
    [
        ("milliseconds", str(NOW)),
        ("rfc3339", "2027-01-15T08:00:00Z"),
        ("rfc3339", "2027-01-15T09:00:00.123456+01:00"),
    ],
)
def test_other_forms_of_a_timestamp_are_understood(shape: str, at: str) -> None:
    assert read(TIMED | {"timestamp_format": shape}, timed(at=at)).refs


@pytest.mark.parametrize("shape", ["seconds", "milliseconds", "rfc3339"])
@pytest.mark.parametrize(
    "at",
    [
        "",
        f"{SECONDS}.0",
        f"+{SECONDS}",
        f"1_{SECONDS[1:]}",
        "1e9",
        "\u0661" * 10,
        "9" * 400,
        "2027-01-15T08:00:00",
        "2027-01-15",
        "2027-13-45T08:00:00Z",
        "2027-01-15T08:00:60Z",
        "nan",
    ],
)
def test_a_timestamp_is_strict_even_if_it_is_signed(shape: str, at: str) -> None:
    with pytest.raises(UnauthorizedError):
        read(TIMED | {"timestamp_format": shape}, timed(at=at))


def test_a_static_header_is_compared_as_it_is() -> None:
    events = {"auth": "static_header", "header": "X-Token", "prefix": "Token ", "ticket": "id"}
    assert read(events, {"X-Token": "Token " + SECRET.decode()}).refs == ("e-1",)
    for wrong in ("Token key", SECRET.decode(), "token " + SECRET.decode(), ""):
        with pytest.raises(UnauthorizedError):
            read(events, {"X-Token": wrong})


def test_basic_compares_user_and_password_whatever_the_case_of_the_scheme() -> None:
    events = {"auth": "basic", "ticket": "id"}
    proof = base64.b64encode(b"desk:pass:word").decode()
    for scheme in ("Basic", "basic", "BASIC"):
        headers = {"Authorization": f"{scheme} {proof}"}
        assert read(events, headers, secrets=(b"desk:pass:word",)).refs
    for wrong in ("Basic", f"Bearer {proof}", "Basic %%%", f"Basic {proof[:-1]}", f"Basic{proof}"):
        with pytest.raises(UnauthorizedError):
            read(events, {"Authorization": wrong}, secrets=(b"desk:pass:word",))


@given(
    some.dictionaries(
        some.sampled_from(["X-Signature", "x-timestamp", "X-Id", "Authorization"]),
        some.text(some.characters(codec=None), max_size=80),
    ),
    some.binary(max_size=80),
    some.sampled_from(
        [
            HMAC,
            TIMED,
            HMAC | {"encoding": "base64"},
            TIMED | {"timestamp_format": "rfc3339"},
            {"auth": "basic", "ticket": "id"},
            {"auth": "static_header", "header": "X-Signature", "ticket": "id"},
        ]
    ),
)
def test_whatever_is_malformed_is_unauthorised_in_the_same_words(
    headers: dict[str, str], body: bytes, events: dict[str, Any]
) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        read(events, headers, body)
    assert str(caught.value) == "the event does not prove that it comes from the ticket system"


def test_proofs_are_compared_in_constant_time_with_every_live_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    proof = {"X-Signature": "sha256=" + signed(BODY, secret=b"a")}
    assert read(HMAC, proof, secrets=(b"a", b"b", b"c")).refs
    assert len(compared) == 3


@pytest.mark.parametrize(
    "body", [b"", b"<xml/>", b"[]", b"{}", b'{"ticket":{"id":null}}', b'{"ticket":{"id":true}}']
)
def test_a_proven_event_that_names_no_ticket_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="body:"):
        read(HMAC, {"X-Signature": "sha256=" + signed(body)}, body)


def test_tickets_are_named_once_each_also_out_of_lists() -> None:
    body = orjson.dumps({"ids": [7, "8", 7, None, "", "x" * 256], "ref": "8"})
    events = HMAC | {"ticket": ["ids", "ref"]}
    assert read(events, {"X-Signature": "sha256=" + signed(body)}, body).refs == ("7", "8")


def replay_key(events: dict[str, Any], body: bytes = BODY, **stamps: str) -> str:
    [key] = read(TIMED | events, timed(body, **stamps), body).replay_keys
    return key


def test_a_repeat_has_the_same_key_and_another_event_has_another() -> None:
    later = str(int(SECONDS) + 5)
    assert replay_key({}) == replay_key({}, at=later)
    assert replay_key({}) != replay_key({}, event="e-2")
    in_body = {"replay_key": "id"}
    assert replay_key(in_body) == replay_key(in_body, at=later, event="e-2")
    assert replay_key({"replay_key": "nowhere"}) != replay_key({"replay_key": "nowhere"}, at=later)


def test_a_name_that_no_signature_covers_does_not_make_a_repeat_a_new_event() -> None:
    unsigned = {"signed": "{timestamp}.{body}"}
    proof = {
        "X-Signature": "sha256=" + signed(f"{SECONDS}.".encode() + BODY),
        "X-Timestamp": SECONDS,
    }
    one, other = (read(TIMED | unsigned, proof | {"X-Id": name}) for name in ("e-1", "e-2"))
    assert one.replay_keys[0] == other.replay_keys[0]
    assert one.replay_keys[1] != other.replay_keys[1]
    # without a time in it, two events may well look the same: then only their names differ
    plain = {"X-Signature": "sha256=" + signed(BODY), "X-Id": "e-1"}
    assert len(read(HMAC | {"id_header": "X-Id"}, plain).replay_keys) == 1


def test_without_anything_to_tell_events_apart_it_is_the_digest_of_the_whole() -> None:
    proof = {"X-Signature": "sha256=" + signed(BODY)}
    [key] = read(HMAC, proof).replay_keys
    assert [key] == list(read(HMAC, proof).replay_keys)
    assert len(key) == len(hashlib.sha256().hexdigest())


def test_secrets_that_are_replaced_meanwhile_are_used() -> None:
    live = [SECRET]
    reader = EventReader(Events.model_validate(HMAC), lambda: live)

    def presented(secret: bytes) -> dict[str, str]:
        return {"X-Signature": f"sha256={signed(BODY, secret=secret)}"}

    assert reader.read(presented(SECRET), BODY, now=NOW).refs
    live[:] = [b"second"]

    assert reader.read(presented(b"second"), BODY, now=NOW).refs
    with pytest.raises(UnauthorizedError):
        reader.read(presented(SECRET), BODY, now=NOW)


@pytest.mark.parametrize(
    ("written", "form", "fresh"),
    [
        (NOW, "milliseconds", True),
        (str(NOW), "milliseconds", True),
        (NOW - 300_000, "milliseconds", True),
        (NOW - 300_001, "milliseconds", False),
        (NOW + 300_001, "milliseconds", False),
        (NOW // 1_000, "seconds", True),
        ("2027-01-15T08:00:00Z", "rfc3339", True),
        ("2027-01-14T08:00:00Z", "rfc3339", False),
        (None, "milliseconds", False),
        (True, "milliseconds", False),
        ([NOW], "milliseconds", False),
        (-NOW, "milliseconds", False),
    ],
)
def test_the_time_of_an_event_may_stand_in_its_body(written: Any, form: str, fresh: bool) -> None:  # noqa: FBT001
    body = orjson.dumps({"ticket": {"id": 7}, "timestamp": written})
    events = HMAC | {"sent_at": "timestamp", "timestamp_format": form}
    headers = {"X-Signature": f"sha256={signed(body)}"}
    if fresh:
        assert read(events, headers, body).refs == ("7",)
    else:
        with pytest.raises(UnauthorizedError, match="does not prove"):
            read(events, headers, body)
