"""Answers of a token endpoint, as tables."""

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.tokens import Token, TokenRefused, parse_token
from proxy.outbound.responses import Response

URL = "https://as.example.com/oauth/token"
GOOD = {"access_token": "canary-token", "token_type": "Bearer", "expires_in": 3600}


def answer(status: int, body: Any, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDict(named), raw, f"POST {URL}")


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
    """Checklist 1: lifetimes of any shape, counted from the sending."""
    token = parse_token(answer(200, body), sent_at=17, scope="a b offline_access")
    assert token == Token("canary-token", 17, lifetime)
    assert "canary" not in repr(token)


@pytest.mark.parametrize(
    ("given", "kept"), [("canary-refresh", "canary-refresh"), (None, ""), ("", ""), (5, "")]
)
def test_a_refresh_token_is_kept_and_never_shown(given: Any, kept: str) -> None:
    token = parse_token(answer(200, GOOD | {"refresh_token": given}), sent_at=0)
    assert token.refresh_token == kept
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
    """Checklist 7: type, scope and shape of a token."""
    with pytest.raises(ConfigurationError, match=URL) as caught:
        parse_token(answer(200, body), sent_at=0, scope="a b")
    assert "canary" not in str(caught.value)
    assert not caught.value.request_specific


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 201, 204])
@pytest.mark.parametrize("body", [b"", b"<html>x</html>", b"[1]", b"null", b'{"error": 5}'])
def test_a_refusal_in_any_shape_is_a_matter_of_configuration(status: int, body: bytes) -> None:
    """Checklist 5: refusals without a code."""
    with pytest.raises(TokenRefused, match=str(status)) as caught:
        parse_token(answer(status, body), sent_at=0)
    assert caught.value.code == ("invalid_client" if status == 401 else "")


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("invalid_request", "`client_authentication` and `extra`"),
        ("invalid_client", "secret, key or certificate"),
        ("invalid_grant", "log in again"),
        ("unauthorized_client", "the grant refresh_token"),
        ("unsupported_grant_type", "the grant refresh_token"),
        ("invalid_scope", "`scope`"),
        ("invalid_target", "`audience`"),
        ("access_denied", "may ask for"),
        ("something_else", "URL"),
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403])
def test_the_code_of_the_rfc_says_what_to_do(status: int, code: str, advice: str) -> None:
    """Checklist 5: every code of RFC 6749 5.2 and RFC 8707 2."""
    body = {"error": code, "error_description": 'the "client" is \x00 bad'}
    with pytest.raises(TokenRefused, match=advice) as caught:
        parse_token(answer(status, body), sent_at=0, grant="refresh_token")
    assert caught.value.code == code
    assert code in str(caught.value)
    assert 'the "client" is bad' in str(caught.value)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_named_as_such(status: int) -> None:
    """Checklist 7: redirects are a matter of configuration."""
    with pytest.raises(TokenRefused, match="redirects are never followed"):
        parse_token(answer(status, b"", location="https://elsewhere.example/"), sent_at=0)


@pytest.mark.parametrize(
    ("status", "body", "sent"),
    [
        (429, {"access_token": "canary"}, False),
        (429, b"", False),
        (425, b"", False),
        (408, b"", True),
        (500, b"<html>", True),
        (503, {"error": "temporarily_unavailable"}, True),
        (400, {"error": "temporarily_unavailable"}, False),
        (400, {"error": "slow_down"}, False),
    ],
)
def test_a_server_that_cannot_answer_now_is_asked_again(
    status: int, body: Any, *, sent: bool
) -> None:
    """Checklist 5: what passes, with the pause that the server wants."""
    with pytest.raises(TemporaryError) as caught:
        parse_token(answer(status, body, retry_after="9"), sent_at=0)
    assert (caught.value.retry_after, caught.value.maybe_sent) == (9_000, sent)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400, 500])
def test_no_answer_leads_to_another_kind_of_error(status: int) -> None:
    for body in (b"\xff", b"{}", b"[" * 2_000, b'{"error": {"a": []}}', b'{"scope": 1}'):
        with pytest.raises(ProxyError):
            parse_token(answer(status, body), sent_at=0)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            answer(200, {}),
            (
                f"POST {URL} answered 200 without an access_token: check that it is the URL of the"
                " token endpoint"
            ),
        ),
        (
            answer(200, GOOD | {"token_type": "mac"}),
            (
                f"POST {URL} returned a token that is not of type Bearer: have the authorization"
                " server issue Bearer tokens to this client, or set `dpop_key` if it binds them to"
                " a key (RFC 9449)"
            ),
        ),
        (
            answer(200, GOOD | {"scope": "a"}),
            (
                f"POST {URL} did not grant the scope b c: allow this client to request it, or take"
                " it out of `scope`"
            ),
        ),
        (
            answer(302, {"error_description": "canary"}),
            (
                f"no token: POST {URL} answered 302: redirects are never followed, correct the"
                " endpoint's URL"
            ),
        ),
        (
            answer(400, {"error": "odd", "error_description": "words"}),
            (
                f"no token: POST {URL} answered 400 (odd: words): check the token endpoint's URL"
                " and the client's credentials"
            ),
        ),
        (
            answer(401, b""),
            (
                f"no token: POST {URL} answered 401: check `client_id`, `client_authentication` and"
                " secret, key or certificate"
            ),
        ),
        (
            answer(400, {"error": "unauthorized_client"}),
            (
                f"no token: POST {URL} answered 400 (unauthorized_client): allow this client the"
                " grant client_credentials"
            ),
        ),
        (answer(503, b""), f"no token: POST {URL} answered 503: it will be tried again"),
    ],
)
def test_each_error_says_what_happened_and_what_to_do(given: Response, sentence: str) -> None:
    with pytest.raises(ProxyError) as caught:
        parse_token(given, sent_at=0, scope="a b c")
    assert str(caught.value) == sentence
    assert getattr(caught.value, "code", "") in {"", "odd", "invalid_client", "unauthorized_client"}


def test_a_token_may_be_of_the_scheme_that_the_api_takes() -> None:
    """Zoho and others: the type is their own word, or Bearer all the same."""
    for kind in ("Zoho-oauthtoken", "zoho-OAUTHTOKEN", "Bearer"):
        token = parse_token(
            answer(200, GOOD | {"token_type": kind}), sent_at=0, scheme="Zoho-oauthtoken"
        )
        assert token.value == "canary-token"


@pytest.mark.parametrize("kind", ["DPoP", "dpop"])
def test_a_bound_token_is_of_type_dpop(kind: str) -> None:
    """RFC 9449 5: any other would be a token that a thief could use, whatever the API takes."""
    given = answer(200, GOOD | {"token_type": kind})
    assert parse_token(given, sent_at=0, bound=True).value == "canary-token"
    with pytest.raises(ConfigurationError, match=r"not of type Bearer: .* issue Bearer tokens"):
        parse_token(given, sent_at=0)
    for other in ("Bearer", "Zoho-oauthtoken"):
        with pytest.raises(ConfigurationError, match=r"not of type DPoP: .* issue DPoP tokens"):
            parse_token(
                answer(200, GOOD | {"token_type": other}),
                sent_at=0,
                scheme="Zoho-oauthtoken",
                bound=True,
            )


def test_nothing_is_asked_where_nothing_is_wanted() -> None:
    assert parse_token(answer(200, GOOD | {"scope": "anything"}), sent_at=0).value == "canary-token"


def test_a_date_says_when_to_ask_again_by_the_clock_of_the_answer() -> None:
    headers = {
        "retry_after": "Wed, 21 Oct 2026 07:28:10 GMT",
        "date": "Wed, 21 Oct 2026 07:28:00 GMT",
    }
    with pytest.raises(TemporaryError) as caught:
        parse_token(answer(503, b"", **headers), sent_at=0)
    assert caught.value.retry_after == 10_000
