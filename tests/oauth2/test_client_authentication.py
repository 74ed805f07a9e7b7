"""Each way to prove a client, checked as a server would: with its own decoding and keys."""

import base64
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from proxy.errors import ConfigurationError
from proxy.oauth2.assertions import SKEW, assertion
from proxy.oauth2.client_authentication import (
    ASSERTION_TYPE,
    BasicEncoding,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJwt,
    ClientSecretPost,
    NoAuthentication,
    PrivateKeyJwt,
    SecretAlgorithm,
    Server,
    TlsClientAuth,
)
from proxy.outbound.responses import Call
from proxy.security.private_keys import SigningKey, load_key

NOW = 1_767_225_600_000
SERVER = Server("https://as.example.com", "https://as.example.com/token", NOW)
CALL = Call("POST", SERVER.token_url, {"Accept": "application/json"}, b"grant_type=x", ("kept",))
ODD_SECRETS = ["a+b%2Fc d", "ü:\"'\\", "x&=y" * 250]

RSA = RSAKey.generate_key(2048)
KEYS: list[tuple[Key, str, str]] = [
    (RSA, "RS256", "RS256"),
    (RSA, "PS384", "PS384"),
    (ECKey.generate_key("P-256"), "", "ES256"),
    (ECKey.generate_key("P-384"), "", "ES384"),
    (ECKey.generate_key("P-521"), "", "ES512"),
    (OKPKey.generate_key("Ed25519"), "", "EdDSA"),
]


def form(call: Call) -> dict[str, str]:
    assert call.body is not None
    fields = parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True)
    assert len(dict(fields)) == len(fields)
    return dict(fields)


def pem(key: Key) -> str:
    assert isinstance(key, RSAKey | ECKey | OKPKey)
    return key.as_pem(private=True).decode()


@pytest.mark.parametrize("secret", ODD_SECRETS)
def test_basic_encodes_id_and_secret_as_the_rfc_wants(secret: str) -> None:
    """Checklist 8: RFC 6749 2.3.1, read back as a server reads it."""
    call = ClientSecretBasic("cl:ié nt", lambda: secret).sign(CALL, SERVER)
    kind, _, proof = call.headers["Authorization"].partition(" ")
    given, _, key = base64.b64decode(proof).decode("ascii").partition(":")
    assert (kind, unquote_plus(given), unquote_plus(key)) == ("Basic", "cl:ié nt", secret)
    assert (call.body, call.url) == (CALL.body, CALL.url)


@pytest.mark.parametrize(
    ("encoding", "pair"),
    [("rfc6749", "cl%3Aient:a%2Bb%252Fc+d%C3%A9"), ("raw", "cl:ient:a+b%2Fc dé")],
)
def test_basic_can_be_sent_raw_where_servers_err(encoding: BasicEncoding, pair: str) -> None:
    call = ClientSecretBasic("cl:ient", lambda: "a+b%2Fc dé", encoding).sign(CALL, SERVER)
    proof = call.headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(proof).decode() == pair


@pytest.mark.parametrize("secret", ODD_SECRETS)
def test_post_puts_id_and_secret_into_the_form_only(secret: str) -> None:
    """Checklist 8: one way per request, and nothing in the URL."""
    call = ClientSecretPost("cl&ient", lambda: secret).sign(CALL, SERVER)
    assert form(call) == {"grant_type": "x", "client_id": "cl&ient", "client_secret": secret}
    assert (call.url, "Authorization" in call.headers) == (CALL.url, False)


@pytest.mark.parametrize("secret", [secret * 16 for secret in ODD_SECRETS])
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_can_sign_instead_of_being_sent(secret: str, algorithm: SecretAlgorithm) -> None:
    call = ClientSecretJwt("client", lambda: secret, algorithm).sign(CALL, SERVER)
    sent = form(call)["client_assertion"]
    claims = jwt.decode(sent, OctKey.import_key(secret.encode()), algorithms=[algorithm]).claims
    assert (claims["iss"], claims["sub"]) == ("client", "client")
    assert secret.encode() not in (call.body or b"")


def test_a_secret_shorter_than_the_hash_does_not_sign() -> None:
    """RFC 7518 3.2."""
    with pytest.raises(ConfigurationError, match="at least 32 bytes") as caught:
        ClientSecretJwt("client", lambda: "canary" * 5).sign(CALL, SERVER)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("authentication", [TlsClientAuth("client"), NoAuthentication("client")])
def test_who_has_no_secret_says_only_its_id(authentication: ClientAuthentication) -> None:
    call = authentication.sign(CALL, SERVER)
    assert form(call) == {"grant_type": "x", "client_id": "client"}
    assert call.headers == CALL.headers


@pytest.mark.parametrize(("key", "algorithm", "expected"), KEYS)
@pytest.mark.parametrize("as_jwk", [False, True])
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_private_key_signs_a_short_assertion(
    key: Key, algorithm: str, expected: str, *, as_jwk: bool
) -> None:
    """Checklist 9: algorithm, kid, at most 60 s, skew allowance, verified with the public key."""
    text = str(key.as_dict(private=True)).replace("'", '"') if as_jwk else pem(key)
    loaded = load_key(text, algorithm=algorithm or None, kid="k1")
    call = PrivateKeyJwt("client", lambda: loaded).sign(CALL, SERVER)
    fields = form(call)
    assert fields["client_assertion_type"] == ASSERTION_TYPE
    token = jwt.decode(fields["client_assertion"], key, algorithms=[expected])
    assert token.header == {"alg": expected, "typ": "JWT", "kid": "k1"}
    assert token.claims["aud"] == SERVER.issuer
    issued, seconds = token.claims["iat"], NOW // 1_000
    assert issued == token.claims["nbf"] == seconds - SKEW // 1_000
    assert seconds < token.claims["exp"] <= issued + 60
    assert fields["client_assertion"] in call.secrets
    assert "kept" in call.secrets


@pytest.mark.parametrize(
    ("wanted", "issuer", "audience"),
    [
        ("", SERVER.issuer, SERVER.issuer),
        ("", "", SERVER.token_url),
        ("issuer", SERVER.issuer, SERVER.issuer),
        ("token_endpoint", SERVER.issuer, SERVER.token_url),
        ("urn:else", SERVER.issuer, "urn:else"),
    ],
)
def test_audience_and_type_are_a_matter_of_the_provider(
    wanted: str, issuer: str, audience: str
) -> None:
    """Checklist 9: `aud` and `typ`."""
    key = SigningKey(RSA, "RS256")
    authentication = PrivateKeyJwt("c", lambda: key, wanted, "client-authentication+jwt")
    call = authentication.sign(CALL, Server(issuer, SERVER.token_url, NOW))
    token = jwt.decode(form(call)["client_assertion"], RSA, algorithms=["RS256"])
    assert token.claims["aud"] == audience
    assert token.header == {"alg": "RS256", "typ": "client-authentication+jwt"}


def test_an_issuer_that_nobody_knows_is_no_audience() -> None:
    with pytest.raises(ConfigurationError, match="`issuer`"):
        Server("", SERVER.token_url, NOW).audience("issuer")


def test_each_assertion_has_an_id_of_its_own_and_claims_stay_as_they_were() -> None:
    """Checklist 9: authlib writes the first jti into the caller's claims, so that it comes back."""
    key = OctKey.generate_key(256)
    claims: dict[str, Any] = {"tenant": "t", "exp": 9e9}
    signed = [
        assertion(
            SigningKey(key, "HS256"),
            issuer="i",
            subject="s",
            audience="a",
            now=NOW,
            lifetime=10**9,
            claims=claims,
        )
        for _ in range(1_000)
    ]
    decoded = [jwt.decode(text, key, algorithms=["HS256"]).claims for text in signed]
    assert len({each["jti"] for each in decoded}) == 1_000
    assert {each["tenant"] for each in decoded} == {"t"}
    assert {each["exp"] - each["iat"] for each in decoded} == {60}
    assert claims == {"tenant": "t", "exp": 9e9}


@pytest.mark.parametrize(
    ("text", "algorithm", "problem"),
    [
        ("", None, "cannot be read"),
        ("canary", None, "cannot be read"),
        ("{canary", None, "cannot be read"),
        ('{"kty": "oct", "k": "Y2FuYXJ5"}', None, "cannot be read"),
        (RSA.as_pem(private=False).decode(), None, "public"),
        (pem(RSA), "ES256", "cannot sign with ES256"),
        (pem(RSA), "none", "cannot sign with none"),
        (pem(RSA), "HS256", "cannot sign with HS256"),
        (pem(ECKey.generate_key("P-256")), "ES384", "cannot sign with ES384"),
        (pem(ECKey.generate_key("secp256k1")), None, "unsupported type"),
        (pem(OKPKey.generate_key("X25519")), None, "unsupported type"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(text: str, algorithm: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        load_key(text, algorithm=algorithm)
    assert "canary" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_weak_rsa_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1024 bits"):
        load_key(pem(RSAKey.generate_key(1024)))


def test_a_jwk_says_its_own_algorithm_and_id() -> None:
    key = RSAKey.generate_key(2048, {"alg": "PS256", "kid": "mine"})
    loaded = load_key(str(key.as_dict(private=True)).replace("'", '"'))
    assert (loaded.algorithm, loaded.kid) == ("PS256", "mine")
    assert "RSAKey" not in repr(loaded)


def test_secrets_and_keys_are_read_for_each_request_and_never_shown() -> None:
    """Checklist 15: a rotated secret counts from the next request on."""
    for kind in (ClientSecretBasic, ClientSecretPost):
        secrets = iter(["canary-1", "canary-2"])
        authentication = kind("client", lambda: next(secrets))  # noqa: B023 - used at once
        calls = [authentication.sign(CALL, SERVER) for _ in range(2)]
        assert "canary" not in repr(authentication) + repr(calls)
        assert ["canary-1" in calls[0].secrets, "canary-2" in calls[1].secrets] == [True, True]
    keys = iter([RSA, RSAKey.generate_key(2048)])
    signing = PrivateKeyJwt("client", lambda: SigningKey(next(keys), "RS256"))
    first, second = (form(signing.sign(CALL, SERVER))["client_assertion"] for _ in range(2))
    assert jwt.decode(first, RSA, algorithms=["RS256"]).claims["iss"] == "client"
    with pytest.raises(BadSignatureError):
        jwt.decode(second, RSA, algorithms=["RS256"])
