"""Events that others sign: the schemes of vendors, Standard Webhooks, and signed tokens."""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as some
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from multidict import CIMultiDict
from pydantic import ValidationError

from proxy.domain.models import TicketHint
from proxy.errors import InvalidRequestError, UnauthorizedError
from proxy.settings.ticket_systems import SignedEvents
from proxy.tickets.events.declaration import PRESETS, Events
from proxy.tickets.events.jwt import key_id, published_keys
from proxy.tickets.events.proofs import read_key
from proxy.tickets.events.reader import EventReader
from proxy.tickets.jira.declaration import JiraEvents

NOW = 1_800_000_000_000
SECONDS = str(NOW // 1_000)
BODY = b'{"ticket":{"id":7},"issue":{"id":"7"},"sys_id":"7","timestamp":1800000000000}'
SECRET = b"a secret of some length, 01234567890"


def read(
    events: Mapping[str, Any],
    headers: Mapping[str, str],
    body: bytes = BODY,
    *,
    secrets: tuple[bytes, ...] = (SECRET,),
    now: int = NOW,
) -> TicketHint:
    shape = Events.model_validate({"ticket": "ticket.id", **events})
    return EventReader(shape, lambda: secrets).read(headers, body, now=now)


def refused(*what: Any, **how: Any) -> None:
    with pytest.raises(UnauthorizedError):
        read(*what, **how)


# -- Standard Webhooks -----------------------------------------------------------------------------

STANDARD = {"auth": "standard_webhooks"}
VECTOR_SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
VECTOR_BODY = b'{"test": 2432232314}'


def test_what_the_library_of_standard_webhooks_signs_is_accepted() -> None:
    """The vector of its own tests, made again with PyPI's standardwebhooks 1.1.0."""
    events = STANDARD | {"ticket": "test"}
    hint = read(events, VECTOR, VECTOR_BODY, secrets=(VECTOR_SECRET,), now=1_614_265_330_000)
    assert hint.refs == ("2432232314",)
    for change in (
        {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJeK"},
        {"webhook-timestamp": "1614265331"},
        {"webhook-signature": VECTOR["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": VECTOR["webhook-signature"].replace("=", "")},
    ):
        refused(
            events, VECTOR | change, VECTOR_BODY, secrets=(VECTOR_SECRET,), now=1_614_265_330_000
        )
    refused(events, VECTOR, VECTOR_BODY, secrets=(VECTOR_SECRET,), now=1_614_265_630_001)


def asymmetric(key: Ed25519PrivateKey, body: bytes = BODY, event: str = "msg_1") -> dict[str, str]:
    proof = base64.b64encode(key.sign(f"{event}.{SECONDS}.".encode() + body)).decode()
    return {
        "webhook-id": event,
        "webhook-timestamp": SECONDS,
        "webhook-signature": f"v1,AAAA garbage v1a,%%% v1a,{proof}",
    }


def public(key: Ed25519PrivateKey) -> bytes:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"whpk_" + base64.b64encode(raw)


def test_a_signature_by_a_private_key_is_verified_with_its_public_half() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    live = (VECTOR_SECRET, public(other), public(key))
    assert read(STANDARD, asymmetric(key), secrets=live).refs == ("7",)
    refused(STANDARD, asymmetric(key), secrets=live[:2])
    refused(STANDARD, asymmetric(key), BODY + b" ", secrets=live)
    # a public key is no secret: nobody may sign with it as if it were one
    material = public(key).removeprefix(b"whpk_")
    for as_secret in (public(key), material, base64.b64decode(material)):
        message = f"msg_1.{SECONDS}.".encode() + BODY
        mac = base64.b64encode(hmac.digest(as_secret, message, "sha256")).decode()
        for version in ("v1", "v1a"):
            forged = asymmetric(key) | {"webhook-signature": f"{version},{mac}"}
            refused(STANDARD, forged, secrets=live[1:])


def test_an_id_that_could_end_in_two_places_is_refused() -> None:
    key = Ed25519PrivateKey.generate()
    assert read(STANDARD, asymmetric(key, event="msg-1"), secrets=(public(key),)).refs
    refused(STANDARD, asymmetric(key, event="msg.1"), secrets=(public(key),))


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("plain", "whsec_"),
        ("whsec_%%%", "base64"),
        ("whsec_c2hvcnQ=", "24 to 64"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64"),
        ("whpk_c2hvcnQ=", "32 bytes"),
        ("whsk_" + base64.b64encode(bytes(64)).decode(), "whpk_"),
    ],
)
def test_secrets_that_are_no_keys_are_refused_at_once_and_not_shown(secret: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why) as caught:
        SignedEvents.model_validate(STANDARD | {"ticket": "id", "secrets": [secret]})
    assert secret not in str(caught.value)
    # a file that becomes unusable later lets nobody in
    refused(STANDARD, VECTOR, VECTOR_BODY, secrets=(secret.encode(),), now=1_614_265_330_000)


def test_other_systems_may_sign_with_private_keys_as_well() -> None:
    key = Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex().encode()
    events = {"auth": "hmac", "header": "X-Ed25519", "algorithm": "ed25519", "key_format": "hex"}
    assert read(events, {"X-Ed25519": key.sign(BODY).hex()}, secrets=(raw,)).refs
    refused(events, {"X-Ed25519": key.sign(BODY + b" ").hex()}, secrets=(raw,))


# -- schemes of vendors ----------------------------------------------------------------------------


def mac(message: bytes) -> bytes:
    return hmac.digest(SECRET, message, hashlib.sha256)


SIGNED: Mapping[str, Callable[[bytes], dict[str, str]]] = {
    "jira": lambda body: {"X-Hub-Signature": f"sha256={mac(body).hex()}"},
    "servicenow": lambda body: {
        "X-Hmac-Timestamp": SECONDS,
        "X-Hmac-Signature": base64.b64encode(mac(f"{SECONDS}.".encode() + body)).decode(),
    },
    "zendesk": lambda body: {
        "X-Zendesk-Webhook-Signature-Timestamp": "2027-01-15T08:00:00Z",
        "X-Zendesk-Webhook-Signature": base64.b64encode(
            mac(b"2027-01-15T08:00:00Z" + body)
        ).decode(),
    },
    "glpi": lambda body: {
        "X-GLPI-timestamp": SECONDS,
        "X-GLPI-signature": mac(body + SECONDS.encode()).hex(),
    },
}


JIRA = {"auth": "jira", "ticket": "ticket.id"}


@pytest.mark.parametrize("name", SIGNED)
def test_a_vendors_scheme_is_known_by_its_name(name: str) -> None:
    headers = SIGNED[name](BODY)
    assert read({"auth": name, "ticket": "ticket.id"}, headers).refs == ("7",)
    refused({"auth": name, "ticket": "ticket.id"}, headers, BODY + b" ")
    for missing in headers:
        refused({"auth": name}, {key: it for key, it in headers.items() if key != missing})


@pytest.mark.parametrize("declared", [Events, JiraEvents])
def test_an_event_of_jira_cannot_be_told_twice_under_another_name(declared: type[Events]) -> None:
    """Its identifier is a header that no signature covers; the time in its body is signed."""
    reader = EventReader(declared.model_validate(JIRA), lambda: (SECRET,))

    def keys(body: bytes, name: str) -> Sequence[str]:
        named = {**SIGNED["jira"](body), "X-Atlassian-Webhook-Identifier": name}
        return reader.read(named, body, now=NOW).replay_keys

    assert keys(BODY, "e-1")[0] == keys(BODY, "e-2")[0]
    later = BODY.replace(b"000000000", b"000000001")
    assert set(keys(BODY, "e-1")).isdisjoint(keys(later, "e-2"))
    stale = BODY.replace(b"18000", b"17000")
    refused(JIRA, SIGNED["jira"](stale), stale)


def test_every_preset_has_its_test_and_can_be_changed() -> None:
    assert {*SIGNED, "standard_webhooks"} == set(PRESETS)
    shape = Events.model_validate({"auth": "jira", "header": "X-Other"})
    assert (shape.auth, shape.header, shape.prefix) == ("hmac", "X-Other", "sha256=")
    assert Events.model_validate(shape.model_dump(mode="json")) == shape


# -- certificates that a proxy has verified ------------------------------------------------------


def test_the_certificate_that_a_proxy_names_is_compared_as_it_is() -> None:
    events = {"auth": "client_certificate", "header": "X-Client-Cert-Fingerprint"}
    live = (b"b7c1", b"a0e2")
    assert read(events, {"X-Client-Cert-Fingerprint": "a0e2"}, secrets=live).refs == ("7",)
    for wrong in ("a0e3", "a0e2,b7c1", "", "A0E2"):
        refused(events, {"X-Client-Cert-Fingerprint": wrong}, secrets=live)
    doubled = CIMultiDict([("X-Client-Cert-Fingerprint", "a0e2")] * 2)
    refused(events, doubled, secrets=live)


# -- signed tokens ---------------------------------------------------------------------------------

TOKEN: dict[str, Any] = {"auth": "jwt", "token": {"issuer": "https://desk", "audience": "us"}}
CLAIMS = {"iss": "https://desk", "aud": ["us", "them"], "exp": NOW // 1_000 + 180}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def issued(
    claims: Mapping[str, Any] = CLAIMS, secret: bytes = SECRET, **header: Any
) -> dict[str, str]:
    head = {"alg": "HS256", "typ": "JWT", **header}
    return bearer(jwt.encode(head, dict(claims), OctKey.import_key(secret)))


def by_hand(header: Mapping[str, Any], secret: bytes = SECRET) -> str:
    """Sign as whoever does not ask a library whether they should."""
    head, claims = (base64.urlsafe_b64encode(orjson.dumps(it)) for it in (header, CLAIMS))
    signed = head.rstrip(b"=") + b"." + claims.rstrip(b"=")
    proof = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256"))
    return (signed + b"." + proof.rstrip(b"=")).decode()


def test_a_token_signed_with_a_shared_secret_proves_an_event() -> None:
    assert read(TOKEN, issued()).refs == ("7",)
    assert read(TOKEN, issued(), secrets=(b"another secret of some length", SECRET)).refs
    assert read({"auth": "jwt"}, issued({"exp": CLAIMS["exp"]})).refs
    refused(TOKEN, issued(secret=b"another secret of some length"))
    refused(TOKEN, {})


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW // 1_000 - 61},
        {"exp": None},
        {"exp": True},
        {"exp": str(NOW)},
        {"nbf": NOW // 1_000 + 61},
        {"iat": NOW // 1_000 + 61},
        {"iss": "https://other"},
        {"iss": None},
        {"aud": "them"},
        {"aud": ["them"]},
        {"aud": "usa"},
        {"aud": {"us": 1}},
        {"aud": None},
    ],
)
def test_a_token_that_is_for_others_or_not_for_now_is_refused(claims: dict[str, Any]) -> None:
    refused(TOKEN, issued(CLAIMS | claims))
    without = {name: it for name, it in CLAIMS.items() if name not in claims}
    if without != CLAIMS:
        refused(TOKEN, issued(without))


@pytest.mark.parametrize("header", [{"typ": "at+jwt"}, {"typ": ""}, {"alg": "HS512"}])
def test_only_the_type_and_the_algorithms_of_the_settings_are_taken(header: dict[str, str]) -> None:
    head = {"alg": "HS256", "typ": "JWT", **header}
    allowed = ["HS256", "HS512"]
    token = jws.serialize_compact(head, orjson.dumps(CLAIMS), OctKey.import_key(SECRET), allowed)
    refused(TOKEN, bearer(token))


def test_an_algorithm_that_the_settings_do_not_name_is_not_tried() -> None:
    def signed_with(algorithm: str) -> dict[str, str]:
        head = {"alg": algorithm, "typ": "JWT"}
        key = OctKey.import_key(SECRET)
        return bearer(jwt.encode(head, dict(CLAIMS), key, algorithms=[algorithm]))

    only_512 = TOKEN | {"token": {**TOKEN["token"], "algorithms": ["HS512"]}}
    assert read(only_512, signed_with("HS512")).refs
    refused(only_512, signed_with("HS256"))  # which libraries take where nobody says
    refused(TOKEN, signed_with("HS512"))


def test_an_unsigned_token_is_refused() -> None:
    for algorithm in ("none", "None", "nOnE"):
        head, claims = ({"alg": algorithm, "typ": "JWT"}, CLAIMS)
        parts = [base64.urlsafe_b64encode(orjson.dumps(it)).rstrip(b"=") for it in (head, claims)]
        for end in (b"", b"AAAA"):
            refused(TOKEN, bearer(b".".join([*parts, end]).decode()))


def test_a_token_signed_in_another_family_is_refused_with_the_same_key() -> None:
    """The classic confusion: a public key, which everybody knows, taken for a shared secret."""
    for key, algorithm in ((RSAKey.generate_key(2048), "RS256"), (ECKey.generate_key(), "ES256")):
        pem = key.as_pem(private=False)
        forged = bearer(by_hand({"alg": "HS256", "typ": "JWT"}, secret=pem))
        refused(TOKEN | {"token": {"algorithms": [algorithm]}}, forged, secrets=(pem,))
        refused(TOKEN, forged, secrets=(pem,))
    assert read(TOKEN, bearer(by_hand({"alg": "HS256", "typ": "JWT"}))).refs  # the control


SECOND = NOW // 1_000


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": SECOND - 60},
        {"nbf": SECOND + 60},
        {"iat": SECOND + 60},
        {"nbf": SECOND - 3_600, "iat": SECOND - 3_600},
        {"exp": SECOND + 0.5},
    ],
)
def test_clocks_may_differ_by_a_minute(claims: dict[str, Any]) -> None:
    assert read(TOKEN, issued(CLAIMS | claims)).refs


@pytest.mark.parametrize("typ", ["jwt", "JWT", "application/jwt", "Application/JWT"])
def test_the_type_of_a_token_is_a_media_type(typ: str) -> None:
    assert read(TOKEN, issued(typ=typ)).refs


def test_a_token_without_a_type_is_refused() -> None:
    head = {"alg": "HS256"}
    token = jws.serialize_compact(head, orjson.dumps(CLAIMS), OctKey.import_key(SECRET), ["HS256"])
    refused(TOKEN, bearer(token))
    refused(TOKEN | {"token": {"type": "None"}}, bearer(token))


def test_a_token_may_stand_alone_or_behind_a_word() -> None:
    token = issued()["Authorization"].removeprefix("Bearer ")
    for shown in (token, f"JWT {token}", f"bearer {token}", f"Bearer  {token}"):
        assert read(TOKEN, {"Authorization": shown}).refs
    for shown in (f"Basic {token}", f"Bearer Bearer {token}", f"{token} {token}"):
        refused(TOKEN, {"Authorization": shown})
    assert read(TOKEN | {"prefix": "t="}, {"Authorization": f"t={token}"}).refs


def test_a_long_token_is_not_read_at_all() -> None:
    def of_length(length: int) -> str:
        filled = {**CLAIMS, "x": ""}
        for size in range(length * 3 // 4 - 400, length):
            filled["x"] = "x" * size
            token = issued(filled)["Authorization"].removeprefix("Bearer ")
            if len(token) >= length:
                return token
        raise AssertionError

    longest = next(it for it in map(of_length, range(8_188, 8_193)) if len(it) <= 8_192)
    assert read(TOKEN, bearer(longest)).refs
    refused(TOKEN, bearer(of_length(8_200)))


@given(some.text(some.characters(codec=None), max_size=200), some.integers(0, 3))
def test_whatever_is_no_token_is_refused_in_the_same_words(text: str, dots: int) -> None:
    with pytest.raises(UnauthorizedError) as caught:
        read(TOKEN, bearer(text + ".x" * dots))
    assert str(caught.value) == "the event does not prove that it comes from the ticket system"


# -- how a secret is written -----------------------------------------------------------------------

MAC = {"auth": "hmac", "header": "X-Signature"}


@pytest.mark.parametrize(
    ("form", "secret"),
    [
        ("text", SECRET),
        ("hex", SECRET.hex().encode()),
        ("base64", base64.b64encode(SECRET)),
    ],
)
def test_a_secret_may_be_written_in_several_ways(form: str, secret: bytes) -> None:
    proof = {"X-Signature": hmac.digest(SECRET, BODY, "sha256").hex()}
    assert read(MAC | {"key_format": form}, proof, secrets=(secret,)).refs
    refused(MAC | {"key_format": form}, proof, secrets=(secret[:-4],))


@pytest.mark.parametrize(("form", "bad"), [("hex", b"xyz"), ("base64", b"a*b="), ("base64", b"a")])
def test_a_secret_that_is_written_wrong_proves_nothing_and_stops_no_other(
    form: str, bad: bytes
) -> None:
    good = SECRET.hex().encode() if form == "hex" else base64.b64encode(SECRET)
    proof = {"X-Signature": hmac.digest(SECRET, BODY, "sha256").hex()}
    assert read(MAC | {"key_format": form}, proof, secrets=(bad, good)).refs
    refused(MAC | {"key_format": form}, proof, secrets=(bad,))


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_public_key_verifies_signatures_in_either_encoding(encoding: str) -> None:
    key = Ed25519PrivateKey.generate()
    signature = key.sign(BODY)
    proof = signature.hex() if encoding == "hex" else base64.b64encode(signature).decode()
    shape = MAC | {"algorithm": "ed25519", "key_format": "hex", "encoding": encoding}
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert read(shape, {"X-Signature": proof}, secrets=(raw.hex().encode(),)).refs
    refused(shape, {"X-Signature": proof}, BODY + b" ", secrets=(raw.hex().encode(),))


@pytest.mark.parametrize(
    ("form", "secret", "why"),
    [
        (
            "standard_webhooks",
            b"sk_abc",
            "must begin with whsec_ (a secret) or whpk_ (a public key)",
        ),
        ("standard_webhooks", b"whsec_YWJj", "must be whsec_ and 24 to 64 bytes in base64"),
        ("standard_webhooks", b"whsec_a*", "is not base64"),
        ("hex", b"xyz", "is not a hexadecimal number"),
        ("base64", b"a*b=", "is not base64"),
        ("base64", b"*" + base64.b64encode(SECRET), "is not base64"),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_it(form: str, secret: bytes, why: str) -> None:
    shape = Events.model_validate({**MAC, "ticket": "ticket.id", "key_format": form})
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        read_key(secret, shape)
    assert str(caught.value) == why


def test_a_secret_of_standard_webhooks_may_hold_an_underscore_no_more() -> None:
    """base64 has none, so the kind ends at the first one."""
    shape = Events.model_validate({**STANDARD, "ticket": "ticket.id"})
    with pytest.raises(ValueError, match="is not base64"):
        read_key(b"whsec_" + base64.b64encode(SECRET) + b"_x", shape)


def test_which_key_a_token_names_is_read_without_believing_it() -> None:
    for header, named in [({"kid": "k1"}, "k1"), ({"kid": 5}, "5"), ({}, ""), (["kid"], "")]:
        shown = base64.urlsafe_b64encode(orjson.dumps(header)).rstrip(b"=").decode()
        assert key_id(f"{shown}.e30.x") == named
    assert key_id("%%%.e30.x") == ""


def test_of_a_key_set_only_what_verifies_signatures_counts() -> None:
    """RFC 7517 4.2: `use` may be left out; a shared secret has no place among public keys."""
    keys = [OKPKey.generate_key("Ed25519").as_dict(private=False) for _ in range(20)]
    shared = {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
    listed = [{**keys[0], "kid": "a", "use": "sig"}, {**keys[1], "kid": "b"}, shared]
    listed.append({**keys[2], "kid": "c", "use": "enc"})
    found = published_keys(orjson.dumps({"keys": listed}))
    assert [key.kid for key in found] == ["a", "b"]
    assert len(published_keys(orjson.dumps({"keys": keys}))) == 16
    for broken in (b"", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b'{"keys": [{"kty": "none"}]}'):
        assert published_keys(broken) == ()


# -- what an event says ----------------------------------------------------------------------------

SENT = MAC | {"sent_at": "at", "timestamp_format": "milliseconds"}


def signed_body(tree: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    body = orjson.dumps(tree)
    return {"X-Signature": hmac.digest(SECRET, body, "sha256").hex()}, body


@pytest.mark.parametrize(
    ("at", "fine"),
    [(NOW, True), (NOW - 300_000, True), (NOW - 300_001, False), (None, False), ("soon", False)],
)
def test_an_event_may_say_its_time_in_its_body(at: Any, *, fine: bool) -> None:
    headers, body = signed_body({"ticket": {"id": 7}, "at": at})
    if fine:
        assert read(SENT, headers, body).refs == ("7",)
        return
    with pytest.raises(
        UnauthorizedError, match="does not prove that it comes from the ticket system"
    ):
        read(SENT, headers, body)


def test_a_reference_may_be_as_long_as_ticket_systems_make_them() -> None:
    headers, body = signed_body({"ticket": {"id": ["x" * 255, "y" * 256, "", True, None]}})
    assert read(MAC, headers, body).refs == ("x" * 255,)


def test_an_event_that_names_no_ticket_says_so() -> None:
    headers, body = signed_body({"ticket": {}})
    with pytest.raises(InvalidRequestError) as caught:
        read(MAC, headers, body)
    assert list(caught.value.problems) == ["body: names no ticket where the settings expect one"]


def test_the_key_of_a_repeat_depends_on_nothing_but_the_event() -> None:
    """It is kept in the store, so another version of the program must find it again."""
    headers, body = signed_body({"ticket": {"id": 7}})
    whole = hashlib.sha256(b"whole\0\0" + body).hexdigest()
    named = hashlib.sha256(b"named\0" + b"7").hexdigest()
    assert read(MAC, headers, body).replay_keys == (whole,)
    assert read(MAC | {"replay_key": "ticket.id"}, headers, body).replay_keys == (named,)
    assert read(MAC | {"replay_key": "ticket.none"}, headers, body).replay_keys == (whole,)
