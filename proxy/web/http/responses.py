"""Responses: JSON, and errors as problem details (RFC 9457) with the messages of our exceptions."""

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
"""Exceptions that are a response; every other one is a fault, and an alarm."""

JSON: Final = {"Content-Type": "application/json"}
_PRIVATE: Final = {**JSON, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PROBLEM: Final = {"Content-Type": "application/problem+json"}
_LONGEST_MESSAGE: Final = 500  # UTF-16 units
_MOST_MESSAGES: Final = 20
_RETRY_AFTER: Final = 5  # seconds, where the exception names no time
_NOT_STORED: Final = (
    "The store does not answer, so nothing can be promised. Send the same request again later."
)
_UNEXPECTED: Final = (
    "Something unexpected happened, and the log of the approval proxy says what. Send the same"
    " request again later; nothing is done twice."
)


def json_response(body: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Return a response of JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=JSON)


def private_response(body: bytes) -> web.Response:
    """Return a response of JSON that neither proxies nor the browser may cache (RFC 9111)."""
    return web.Response(body=body, headers=_PRIVATE)


def error_response(error: Exception, *, unavailable: int) -> web.Response:
    """Return the response to a call that raised; `unavailable` is the status for "try later".

    A 400 lists `errors` and every other status has one `error`, as in witboost's other contracts.
    The message of an exception that is not `EXPECTED` is left out: it may hold secrets.
    """
    match error:
        case InvalidRequestError():
            return _problem(HTTPStatus.BAD_REQUEST, error.problems)
        case UnauthorizedError():
            # RFC 9110, 11.6.1: a 401 names a scheme
            scheme = {"WWW-Authenticate": "Bearer"}
            return _problem(HTTPStatus.UNAUTHORIZED, [str(error)], scheme)
        case ForbiddenError():
            return _problem(HTTPStatus.FORBIDDEN, [str(error)])
        case NotFoundError():
            return _problem(HTTPStatus.NOT_FOUND, [str(error)])
        case web.HTTPException():
            allow = {name: error.headers[name] for name in error.headers if name == "Allow"}
            return _problem(error.status, [error.reason], allow)
        case TemporaryError():
            message = _NOT_STORED if isinstance(error, StoreUnavailableError) else str(error)
            return _problem(unavailable, [message], _retry_after(error.retry_after))
        case _:
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, [_UNEXPECTED], _retry_after(None))


def _retry_after(pause: int | None) -> Mapping[str, str]:
    seconds = _RETRY_AFTER if pause is None else math.ceil(pause / 1000)
    return {"Retry-After": str(seconds)}


def _problem(
    status: int, messages: Sequence[str], headers: Mapping[str, str] | None = None
) -> web.Response:
    cleaned = [shorten(clean(message), _LONGEST_MESSAGE) for message in messages[:_MOST_MESSAGES]]
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": "; ".join(cleaned),
    }
    body |= {"errors": cleaned} if status == HTTPStatus.BAD_REQUEST else {"error": cleaned[0]}
    return web.Response(
        body=orjson.dumps(body), status=status, headers={**_PROBLEM, **(headers or {})}
    )
