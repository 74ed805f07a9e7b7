"""Answers: JSON, and refusals as problem details (RFC 9457) in the words of our errors."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web

from proxy.domain.text import clean, shorten
from proxy.errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
    TemporaryError,
    UnauthorizedError,
)

EXPECTED: Final = (
    InvalidRequestError,
    UnauthorizedError,
    ForbiddenError,
    NotFoundError,
    TemporaryError,
    web.HTTPException,
)
"""Errors that are an answer; everything else is a fault that an operator must hear about."""

_JSON: Final = {"Content-Type": "application/json"}
_PRIVATE: Final = {**_JSON, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PROBLEM: Final = {"Content-Type": "application/problem+json"}
_LONGEST: Final = 500  # UTF-16 units of one sentence
_MOST: Final = 20  # sentences
_RETRY_AFTER: Final = 5  # seconds, where nobody knows better
_NOT_STORED: Final = (
    "The store does not answer, so nothing can be promised. Send the same request again later."
)
_UNEXPECTED: Final = (
    "Something unexpected happened, and the log of the approval proxy says what. Send the same"
    " request again later; nothing is done twice."
)


def json_answer(body: Any, status: int = 200) -> web.Response:
    """Return an answer of JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=_JSON)


def private_answer(body: Any) -> web.Response:
    """Return an answer of JSON that nobody on its way may keep, the browser included (RFC 9111)."""
    return web.Response(body=orjson.dumps(body), headers=_PRIVATE)


def refusal(error: Exception, *, unavailable: int) -> web.Response:
    """Return the answer to a call that raised; `unavailable` is the status for "later".

    A 400 lists `errors` and everything else has one `error`, as in witboost's other contracts.
    What is not `EXPECTED` says nothing of itself: it may name what nobody outside should read.
    """
    match error:
        case InvalidRequestError():
            return _problem(400, error.problems)
        case UnauthorizedError():
            # RFC 9110, 11.6.1: a 401 names a scheme
            return _problem(401, [str(error)], {"WWW-Authenticate": "Bearer"})
        case ForbiddenError():
            return _problem(403, [str(error)])
        case NotFoundError():
            return _problem(404, [str(error)])
        case web.HTTPException():
            allow = {name: error.headers[name] for name in error.headers if name == "Allow"}
            return _problem(error.status, [error.reason], allow)
        case TemporaryError():
            said = _NOT_STORED if isinstance(error, StoreUnavailableError) else str(error)
            return _problem(unavailable, [said], _retry_after(error.retry_after))
        case _:
            return _problem(500, [_UNEXPECTED], _retry_after(None))


def _retry_after(pause: int | None) -> Mapping[str, str]:
    seconds = _RETRY_AFTER if pause is None else math.ceil(pause / 1000)
    return {"Retry-After": str(seconds)}


def _problem(
    status: int, sentences: Sequence[str], more: Mapping[str, str] | None = None
) -> web.Response:
    said = [shorten(clean(sentence), _LONGEST) for sentence in sentences[:_MOST]]
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "; ".join(said),
    }
    body |= {"errors": said} if status == HTTPStatus.BAD_REQUEST else {"error": said[0]}
    headers = {**_PROBLEM, **(more or {})}
    return web.Response(body=orjson.dumps(body), status=status, headers=headers)
