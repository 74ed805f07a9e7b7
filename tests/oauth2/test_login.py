"""What a login asks for and what it takes for an answer: RFC 6749 4.1, RFC 7636, RFC 9207."""

import base64
import hashlib
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from proxy.errors import ConfigurationError, ProxyError, UnauthorizedError
from proxy.oauth2.login import Authorization, begin, code_of

ENDPOINT = "https://as.example.com/authorize?tenant=a%20b"
REDIRECT = "http://127.0.0.1:4711/callback"
ISSUER = "https://as.example.com"
LOGIN = Authorization("https://as", "our-state", "our-verifier", REDIRECT, ISSUER)
STRICT = replace(LOGIN, iss_required=True)


def asked(**how: Any) -> list[tuple[str, str]]:
    login = begin(ENDPOINT, client_id="proxy & co", redirect_uri=REDIRECT, **how)
    return parse_qsl(urlsplit(login.url).query, strict_parsing=True)


def answer(**fields: str) -> str:
    return f"{REDIRECT}?{urlencode({'state': LOGIN.state, **fields})}"


def test_the_url_asks_for_a_code_that_only_the_verifier_redeems() -> None:
    login = begin(ENDPOINT, client_id="proxy & co", redirect_uri=REDIRECT)
    digest = hashlib.sha256(login.verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert parse_qsl(urlsplit(login.url).query, strict_parsing=True) == [
        ("tenant", "a b"),
        ("response_type", "code"),
        ("client_id", "proxy & co"),
        ("redirect_uri", REDIRECT),
        ("state", login.state),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
    ]
    assert 43 <= len(login.verifier) <= 128, "RFC 7636 4.1"
    assert login.verifier not in login.url


def test_the_url_asks_for_everything_that_is_set() -> None:
    fields = asked(
        scope="read offline_access",
        resource=["urn:x", "urn:y"],
        audience="api.example.com",
        extra={"prompt": "consent"},
    )
    for pair in [
        ("scope", "read offline_access"),
        ("resource", "urn:x"),
        ("resource", "urn:y"),
        ("audience", "api.example.com"),
        ("prompt", "consent"),
    ]:
        assert pair in fields


def test_state_and_verifier_are_fresh_each_time_and_shown_nowhere() -> None:
    logins = [begin(ENDPOINT, client_id="proxy", redirect_uri=REDIRECT) for _ in range(50)]
    assert len({it.state for it in logins} | {it.verifier for it in logins}) == 100
    assert not any(it.state in repr(it) or it.verifier in repr(it) for it in logins)


@pytest.mark.parametrize("name", ["state", "redirect_uri", "code_challenge_method", "scope"])
def test_an_extra_parameter_cannot_replace_what_protects_the_login(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        asked(extra={name: "plain"})


@pytest.mark.parametrize(
    ("said", "login"),
    [
        (answer(code="c0de"), LOGIN),
        (f"  {answer(code='c0de')}\n", LOGIN),
        ("code=c0de&state=our-state", LOGIN),
        ("?code=c0de&state=our-state", LOGIN),
        ("c0de", LOGIN),
        (answer(code="c0de") + "#_=_", LOGIN),
        (answer(code="c0de", iss=ISSUER), LOGIN),
        (answer(code="c0de", iss=ISSUER), STRICT),
        (answer(code="c0de", iss="https://any"), replace(LOGIN, issuer="")),
    ],
)
def test_the_code_is_found(said: str, login: Authorization) -> None:
    assert code_of(said, login) == "c0de"


def test_a_bare_code_may_end_as_base64_does() -> None:
    assert code_of("Yzpk/ZQ==", LOGIN) == "Yzpk/ZQ=="


@pytest.mark.parametrize(
    ("said", "login", "kind", "reason"),
    [
        (f"{REDIRECT}?code=c0de", LOGIN, UnauthorizedError, "state"),
        (f"{REDIRECT}?code=c0de&state=other", LOGIN, UnauthorizedError, "state"),
        (f"{REDIRECT}?code=c0de&state=%C3%BC", LOGIN, UnauthorizedError, "state"),
        (f"{REDIRECT}?error=access_denied&state=other", LOGIN, UnauthorizedError, "state"),
        (answer(code="c0de") + "&code=other", LOGIN, UnauthorizedError, "twice"),
        (answer(code="c0de", iss="https://evil"), LOGIN, ConfigurationError, "https://evil and no"),
        (answer(code="c0de"), STRICT, ConfigurationError, "no server by name"),
        (answer(error="access_denied"), STRICT, ConfigurationError, "no server by name"),
        (REDIRECT, LOGIN, UnauthorizedError, "state"),
        ("c0de", STRICT, ConfigurationError, "whole URL"),
        (answer(), LOGIN, ConfigurationError, "no authorization code"),
        (answer(code="c0 de"), LOGIN, ConfigurationError, "no authorization code"),
        ("", LOGIN, ConfigurationError, "no authorization code"),
        (answer(error="access_denied"), LOGIN, ConfigurationError, "an account that may"),
        (answer(error="invalid_scope"), LOGIN, ConfigurationError, "`scope`"),
        (
            answer(error="odd", error_description="bad\x1b[31m\nday"),
            LOGIN,
            ConfigurationError,
            r"odd: bad \[31m day\)",
        ),
    ],
)
def test_what_is_no_answer_to_this_login_is_refused(
    said: str, login: Authorization, kind: type[ProxyError], reason: str
) -> None:
    with pytest.raises(kind, match=reason) as caught:
        code_of(said, login)
    assert "c0de" not in str(caught.value)
    assert LOGIN.state not in str(caught.value)
