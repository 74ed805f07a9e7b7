import json
from collections.abc import Callable
from urllib.parse import quote_plus

import pytest
from multidict import CIMultiDict

from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    ProxyError,
    TemporaryError,
)
from proxy.outbound.responses import (
    Call,
    Response,
    excerpt,
    maybe_acted,
    quote,
    raise_for_status,
    retry_after,
    without_secrets,
)

CALL = Call("POST", "https://desk.example.com/api/tickets?key=canary")
NOW = 1_800_000_000_000


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDict(named), body, CALL.label)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_passes(status: int) -> None:
    raise_for_status(answer(status), CALL, system="desk")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, PermanentError),
        (302, PermanentError),
        (400, PermanentError),
        (401, ConfigurationError),
        (403, ConfigurationError),
        (404, NotFoundError),
        (405, PermanentError),
        (408, TemporaryError),
        (409, ConflictError),
        (410, NotFoundError),
        (422, PermanentError),
        (425, TemporaryError),
        (429, TemporaryError),
        (500, TemporaryError),
        (503, TemporaryError),
    ],
)
def test_each_status_leads_to_what_the_caller_must_do(status: int, kind: type[ProxyError]) -> None:
    with pytest.raises(kind) as caught:
        raise_for_status(
            answer(status, b'{"message": "no luck"}', retry_after="7"), CALL, system="desk"
        )
    error = caught.value
    assert type(error) is kind
    assert "desk" in str(error)
    assert "POST https://desk.example.com/api/tickets" in str(error)
    assert "no luck" in str(error)
    assert "canary" not in str(error)
    if isinstance(error, ConfigurationError):
        assert error.request_specific
    if isinstance(error, TemporaryError):
        assert error.retry_after == 7_000
        assert error.maybe_sent is (status not in {425, 429})
    if isinstance(error, PermanentError):
        assert error.status == status
        assert error.maybe_sent is (status < 400)


DOUBTFUL = {*range(300, 400), 406, 408, *range(500, 600)}


@pytest.mark.parametrize("status", [*range(300, 600), 101, 600, 999])
def test_after_each_status_it_is_known_whether_the_call_may_have_had_its_effect(
    status: int,
) -> None:
    """A create is refused for good only where a ticket is impossible."""
    with pytest.raises(ProxyError) as caught:
        raise_for_status(answer(status), CALL, system="desk")
    doubtful = status in DOUBTFUL or not 300 <= status < 600
    assert getattr(caught.value, "maybe_sent", False) is maybe_acted(status) is doubtful


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120_000),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60_000),
        ({"Retry-After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0),
        ({"Retry-After": "Fri, 99 Jan 2027 07:00:00 GMT"}, None),
        (
            {
                "Retry-After": "Fri, 15 Jan 2027 09:00:30 GMT",
                "Date": "Fri, 15 Jan 2027 09:00:00 GMT",
            },
            30_000,
        ),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    headers: dict[str, str], pause: int | None
) -> None:
    assert retry_after(503, headers, NOW) == pause


@pytest.mark.parametrize("prefix", ["X-RateLimit-", "RateLimit-"])
@pytest.mark.parametrize(
    ("status", "remaining", "pause"),
    [(429, None, 60_000), (503, "0", 60_000), (503, "4999", None), (500, None, None)],
)
def test_a_limit_that_was_not_met_asks_for_nothing(
    prefix: str, status: int, remaining: str | None, pause: int | None
) -> None:
    """Many APIs say in each answer when the next hour begins: an error is no reason to wait."""
    headers = {f"{prefix}Reset": "60"}
    headers |= {f"{prefix}Remaining": remaining} if remaining else {}
    assert retry_after(status, headers, NOW) == pause


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ""),
        (b'{"error": {"message": "Duplicate", "detail": "x"}}', "Duplicate x"),  # ServiceNow
        (b'{"error": {"detail": "ACL"}}', "ACL"),
        (b'{"message": "plain"}', "plain"),
        (b'{"errors": ["one", "two"]}', "one two"),
        (b'{"errors": [{"message": "one"}, {"message": "two"}]}', "one two"),
        (b'{"errorMessages": [], "errors": {"summary": "is required"}}', "summary: is required"),
        (b'{"errorMessages": ["No"], "errors": {"a": "b", "c": "d"}}', "No a: b c: d"),  # Jira
        (b'{"errorMessage": "desk", "i18nErrorMessage": {"i18nKey": "sd"}}', "desk"),
        (b'{"detail": "problem"}', "problem"),
        (b'{"error": "invalid_client", "error_description": "unknown"}', "unknown"),
        (b'{"ticket": {"secret": "canary"}, "name": "canary"}', ""),
        (b"[" * 50 + b"]" * 50, ""),
        (b"42", ""),
        (b"plain words\r\n\x1b[31mred\x00 end", "plain words [31mred end"),
        (b"  <!doctype html><p>canary", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_other_sides_words_are_found_in_the_usual_shapes(body: bytes, said: str) -> None:
    assert excerpt(answer(400, body)) == said


def test_a_page_is_never_quoted() -> None:
    assert excerpt(answer(502, b"Bad gateway", content_type="text/HTML; charset=x")) == ""


def test_an_excerpt_is_short() -> None:
    assert len(quote("x" * 10_000)) == 200
    assert quote("x" * 200) == "x" * 200


def test_a_body_that_is_not_json_names_the_call() -> None:
    with pytest.raises(TemporaryError, match=r"POST https://desk\.example\.com/api") as caught:
        answer(200, b"<html>").json()
    assert caught.value.maybe_sent


@pytest.mark.parametrize("secret", ["a+b%2Fc d", "canary ü:\"'\\ end", "plain-secret"])
@pytest.mark.parametrize(
    "repeat",
    [str, quote_plus, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)],
    ids=["plain", "form", "json", "json in utf-8"],
)
def test_a_secret_that_comes_back_is_not_shown_however_it_is_spelt(
    secret: str, repeat: Callable[[str], str]
) -> None:
    body = f"you sent {repeat(secret)}, which is wrong"

    shown = without_secrets(body.encode(), [secret]).decode()

    assert shown.replace('"', "") == "you sent ***, which is wrong"
