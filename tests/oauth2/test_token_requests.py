import base64
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest
from multidict import CIMultiDict

from proxy.answers import Answer
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.requests import (
    BasicEncoding,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    Token,
    parse_token,
    token_request,
)

URL = "https://as.example.com/oauth/token"
GOOD = {"access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600}


def answer(status: int, body: Any, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, CIMultiDict(named), raw, f"POST {URL}")


def form(body: bytes | None) -> list[tuple[str, str]]:
    assert body is not None
    return parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)


def test_a_request_says_the_grant_and_only_what_is_set() -> None:
    call = token_request(URL)
    assert (call.method, call.url, call.body) == ("POST", URL, b"grant_type=client_credentials")
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_a_request_says_everything_that_is_set() -> None:
    call = token_request(
        URL, scope="a b&c", resource=["urn:x", "urn:y"], audience="é", extra={"tenant": "1"}
    )
    assert form(call.body) == [
        ("grant_type", "client_credentials"),
        ("scope", "a b&c"),
        ("audience", "é"),
        ("resource", "urn:x"),
        ("resource", "urn:y"),
        ("tenant", "1"),
    ]


@pytest.mark.parametrize(
    ("encoding", "pair"),
    [("rfc6749", "cl%3Aient:a%2Bb%252Fc+d%C3%A9"), ("raw", "cl:ient:a+b%2Fc dé")],
)
def test_basic_encodes_as_the_rfc_wants_or_as_some_servers_want(
    encoding: BasicEncoding, pair: str
) -> None:
    authentication = ClientSecretBasic("cl:ient", lambda: "a+b%2Fc dé", encoding)
    call = authentication.sign(token_request(URL))
    kind, _, proof = call.headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(proof).decode()) == ("Basic", pair)
    assert call.body == b"grant_type=client_credentials"


def test_post_puts_id_and_secret_into_the_form_only() -> None:
    call = ClientSecretPost("cl&ient", lambda: "a+b%2Fc dé").sign(token_request(URL, scope="s"))
    assert form(call.body)[-2:] == [("client_id", "cl&ient"), ("client_secret", "a+b%2Fc dé")]
    assert "Authorization" not in call.headers


@pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])
def test_the_secret_is_read_for_each_request_and_never_shown(
    kind: type[ClientSecretBasic | ClientSecretPost],
) -> None:
    secrets = iter(["canary-1", "canary-1", "canary-1", "canary-2", "canary-2", "canary-2"])
    authentication: ClientAuthentication = kind("client", lambda: next(secrets))
    first = authentication.sign(token_request(URL))
    assert "canary" not in repr(authentication) + repr(first)
    assert "canary-1" in first.secrets


@pytest.mark.parametrize(
    ("body", "lifetime"),
    [
        (GOOD, 3_600_000),
        ({"access_token": "canary-token"}, 300_000),
        (GOOD | {"token_type": "bEARER"}, 3_600_000),
        (GOOD | {"expires_in": None}, 300_000),
        (GOOD | {"expires_in": "3600"}, 3_600_000),
        (GOOD | {"expires_in": "3600.0"}, 3_600_000),
        (GOOD | {"expires_in": 1.5}, 1_500),
        (GOOD | {"expires_in": 0}, 0),
        (GOOD | {"expires_in": -1}, 0),
        (GOOD | {"expires_in": "soon"}, 0),
        (GOOD | {"expires_in": "nan"}, 0),
        (GOOD | {"expires_in": True}, 0),
        (GOOD | {"expires_in": [1]}, 0),
        (GOOD | {"expires_in": 10**18}, 86_400_000),
        (GOOD | {"scope": "b a extra"}, 3_600_000),
        (GOOD | {"scope": ["a", "b"]}, 3_600_000),
    ],
)
def test_a_good_answer_becomes_a_token(body: dict[str, Any], lifetime: int) -> None:
    token = parse_token(answer(200, body), sent_at=17, scope="a b")
    assert token == Token("canary-token", 17, lifetime)
    assert "canary" not in repr(token)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>canary</html>",
        b"[]",
        b'"canary"',
        b"null",
        {},
        {"error": "invalid_client"},
        {"access_token": ""},
        {"access_token": None},
        {"access_token": ["canary"]},
        {"access_token": "with\nnewline"},
        {"access_token": "with space"},
        GOOD | {"token_type": "mac"},
        GOOD | {"token_type": None},
        GOOD | {"scope": "a"},
        GOOD | {"scope": ""},
    ],
)
def test_a_200_that_is_no_bearer_token_with_our_scope_is_a_matter_of_configuration(
    body: Any,
) -> None:
    with pytest.raises(ConfigurationError, match=URL) as caught:
        parse_token(answer(200, body), sent_at=0, scope="a b")
    assert "canary" not in str(caught.value)
    assert not caught.value.request_specific


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 201, 204])
@pytest.mark.parametrize("body", [b"", b"<html>x</html>", b"[1]", b"null", b'{"error": 5}'])
def test_a_refusal_in_any_shape_is_a_matter_of_configuration(status: int, body: bytes) -> None:
    with pytest.raises(ConfigurationError, match=str(status)):
        parse_token(answer(status, body), sent_at=0)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_client", "client secret"),
        ("unauthorized_client", "client_credentials"),
        ("unsupported_grant_type", "client_credentials"),
        ("invalid_scope", "`scope`"),
        ("invalid_target", "`audience`"),
        ("something_else", "URL"),
    ],
)
def test_the_code_of_the_rfc_says_what_to_do(code: str, advice: str) -> None:
    body = {"error": code, "error_description": 'the "client" is \x00 bad'}
    with pytest.raises(ConfigurationError, match=advice) as caught:
        parse_token(answer(400, body), sent_at=0)
    assert code in str(caught.value)
    assert 'the "client" is bad' in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"access_token": "canary"}),
        (429, b""),
        (408, b""),
        (500, b"<html>"),
        (503, {"error": "temporarily_unavailable"}),
        (400, {"error": "temporarily_unavailable"}),
        (400, {"error": "slow_down"}),
    ],
)
def test_a_server_that_cannot_answer_now_is_asked_again(status: int, body: Any) -> None:
    with pytest.raises(TemporaryError) as caught:
        parse_token(answer(status, body, retry_after="9"), sent_at=0)
    assert (caught.value.retry_after, caught.value.sent) == (9_000, False)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_answer_leads_to_another_kind_of_error(status: int) -> None:
    for body in (b"\xff", b"{}", b"[" * 2_000, b'{"error": {"a": []}}', b'{"scope": 1}'):
        with pytest.raises(ProxyError):
            parse_token(answer(status, body), sent_at=0)
