"""Ticket systems: one map from kind to what reads its declaration and what opens it."""

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast

from pydantic import ValidationError

from proxy.errors import ConfigurationError
from proxy.outbound import Destination
from proxy.tickets.declaration import Declaration
from proxy.tickets.jira import open_jira
from proxy.tickets.jira_declaration import JiraDeclaration
from proxy.tickets.port import TicketSystem
from proxy.tickets.rest import open_rest
from proxy.tickets.rest_declaration import RestDeclaration
from proxy.tickets.servicenow import open_servicenow
from proxy.tickets.servicenow_declaration import ServiceNowDeclaration


class Opener(Protocol):
    """Makes a ticket system of a declaration of its kind."""

    def __call__(
        self,
        *,
        name: str,
        declaration: Any,
        http: Destination,
        event_secrets: Callable[[], Sequence[bytes]],
    ) -> TicketSystem:
        """Return the system; raises ConfigurationError where it cannot be used."""
        ...


KINDS: Final[Mapping[str, tuple[type[Declaration], Opener]]] = {
    "rest": (RestDeclaration, open_rest),
    "jira": (JiraDeclaration, open_jira),
    "servicenow": (ServiceNowDeclaration, open_servicenow),
}
"""For each `kind` in the settings: the model of its declaration, and its opener."""


def open_system(
    *,
    name: str,
    declaration: Mapping[str, Any],
    http: Destination,
    event_secrets: Callable[[], Sequence[bytes]] = tuple,
) -> TicketSystem:
    """Return the ticket system that a declaration, as JSON has it, describes.

    `event_secrets` is asked for each event, so that secrets may be replaced meanwhile.

    Raises:
        ConfigurationError: the declaration is of an unknown kind or not sound; one frozen by a
            newer version of this program, for example.
    """
    sound = declaration_of(name, declaration)
    _, opener = KINDS[sound.kind]
    return opener(name=name, declaration=sound, http=http, event_secrets=event_secrets)


def declaration_of(name: str, declaration: Mapping[str, Any]) -> Declaration:
    """Return a declaration, as JSON has it, in the model of its kind.

    Raises:
        ConfigurationError: see `open_system`.
    """
    kind = str(declaration.get("kind"))
    if kind not in KINDS:
        raise ConfigurationError(f"{name}: kind {kind!r} is not known; there is {', '.join(KINDS)}")
    model, _ = KINDS[kind]
    try:
        return model.model_validate(declaration)
    except ValidationError as error:
        with contextlib.suppress(ValidationError, LookupError, TypeError):
            return model.model_validate(_without_unknown(declaration, error))
        raise ConfigurationError(f"{name}: its declaration cannot be used: {error}") from error


def _without_unknown(declaration: Mapping[str, Any], error: ValidationError) -> Mapping[str, Any]:
    """Return a declaration without the keys that this version does not know.

    Settings never come here with one: a newer version froze it, and we are the one it was rolled
    back to. Raises LookupError or TypeError where a key cannot be taken out.
    """
    known: dict[str, Any] = copy.deepcopy(dict(declaration))
    for each in error.errors():
        if each["type"] == "extra_forbidden":
            *path, last = each["loc"]
            functools.reduce(operator.getitem, path, cast("Any", known)).pop(last)
    return known
