"""Reading the requests of operators: who sends them, which request they name, and the body."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.errors import InvalidRequestError
from proxy.observability import logs
from proxy.web.auth import Caller, Role
from proxy.web.context import WebContext
from proxy.web.http.body import json_object, read_body
from proxy.web.http.middleware import CLIENT
from proxy.web.operator_api.bodies import RequestModel

_LONGEST_BODY: Final = 16_384
Model = TypeVar("Model", bound=RequestModel)


def authorize(context: WebContext, request: web.Request, role: Role) -> Caller:
    """Return the operator who sent a request, and name it in the access log.

    Raises:
        UnauthorizedError: no operator did.
        ForbiddenError: the operator's role is below this one.
    """
    operator = context.operators.authorize(request.headers, role)
    request[CLIENT] = operator.name
    return operator


def correlation_id(request: web.Request) -> str:
    """Return the correlation id in the path, and add it to the log lines that follow."""
    named = request.match_info["correlationId"][:64]
    logs.correlation_id.set(named)
    return named


async def authorize_action(
    context: WebContext, request: web.Request, role: Role, model: type[Model]
) -> tuple[str, Model]:
    """Return the name of the operator who sent a request, and its body.

    Raises:
        Unauthorized, Forbidden: as `authorize` does.
        InvalidRequestError: the body does not fit the model.
    """
    operator = authorize(context, request, role)
    timeout = context.limits.body_deadline
    body = await read_body(request, limit=_LONGEST_BODY, timeout=timeout)
    return operator.name, validate(model, json_object(request, body))


def validate(model: type[Model], tree: Mapping[str, Any]) -> Model:
    """Return a body or a query as the model.

    Raises:
        InvalidRequestError: it does not fit the model; one message for each field that does not.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise InvalidRequestError(*map(_message, error.errors())) from error


def _message(problem: ErrorDetails) -> str:
    field = ".".join(part for part in problem["loc"] if isinstance(part, str))
    return f"{field}: {problem['msg']}"
