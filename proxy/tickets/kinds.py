"""Every kind of ticket system, by the `kind` in the settings; an adapter is imported when used."""

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from proxy.errors import ConfigurationError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import Kind, compose
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.port import TicketSystem


def _rest() -> Kind:
    from proxy.tickets.rest import system  # noqa: PLC0415 - only what the settings use is imported

    return system.KIND


def _jira() -> Kind:
    from proxy.tickets.jira import system  # noqa: PLC0415

    return system.KIND


def _servicenow() -> Kind:
    from proxy.tickets.servicenow import system  # noqa: PLC0415

    return system.KIND


KINDS: Final[Mapping[str, Callable[[], Kind]]] = {
    "rest": _rest,
    "jira": _jira,
    "servicenow": _servicenow,
}
"""Every `kind`, with the function that imports it."""


def open_system(
    *,
    name: str,
    declaration: Declaration | Mapping[str, Any],
    http: Destination,
    event_secrets: Callable[[], Sequence[bytes]] = tuple,
) -> TicketSystem:
    """Return the ticket system that a declaration describes; it may also be given as JSON.

    `event_secrets` is called for each event, so that secrets can be replaced meanwhile.

    Raises:
        ConfigurationError: the declaration is of an unknown kind or not valid; one frozen by a
            newer version of this program, for example.
    """
    valid = declaration
    if not isinstance(valid, Declaration):
        valid = declaration_of(name, valid)
    return compose(
        KINDS[valid.kind](), name=name, declaration=valid, http=http, event_secrets=event_secrets
    )


def declaration_of(name: str, declaration: Mapping[str, Any]) -> Declaration:
    """Return a declaration, given as JSON, in the model of its kind.

    Raises:
        ConfigurationError: as `open_system`.
    """
    kind = str(declaration.get("kind"))
    if kind not in KINDS:
        raise ConfigurationError(f"{name}: kind {kind!r} is not known: use {', '.join(KINDS)}")
    model = KINDS[kind]().declaration
    try:
        return model.model_validate(declaration)
    except ValidationError as error:
        with contextlib.suppress(ValidationError, LookupError, TypeError):
            return model.model_validate(_without_unknown(declaration, error))
        raise ConfigurationError(f"{name}: its declaration cannot be used: {error}") from error


def _without_unknown(declaration: Mapping[str, Any], error: ValidationError) -> Mapping[str, Any]:
    """Return a declaration without the keys that this version does not know.

    Settings never come here with one: a newer version froze it, and we are the one it was rolled
    back to. Raises LookupError or TypeError if a key cannot be taken out.
    """
    tree: dict[str, Any] = copy.deepcopy(dict(declaration))
    for problem in error.errors():
        if problem["type"] == "extra_forbidden":
            *path, last = problem["loc"]
            functools.reduce(operator.getitem, path, cast("Any", tree)).pop(last)
    return tree
