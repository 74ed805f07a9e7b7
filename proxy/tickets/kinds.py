"""Ticket systems: one map from kind to how it is declared and what it is."""

import contextlib
import copy
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import ValidationError

from proxy.errors import ConfigurationError
from proxy.outbound.destination import Destination
from proxy.tickets.capabilities import compose
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.jira import system as jira
from proxy.tickets.jira.declaration import JiraDeclaration
from proxy.tickets.port import TicketSystem
from proxy.tickets.rest import system as rest
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.servicenow import system as servicenow
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of ticket system: the model of its declaration, its class, what that may offer."""

    declaration: type[Declaration]
    system: type[TicketSystem]
    capabilities: Callable[[Any], Mapping[type, Any]]


KINDS: Final[Mapping[str, Kind]] = {
    "rest": Kind(RestDeclaration, rest.RestTicketSystem, rest.capabilities),
    "jira": Kind(JiraDeclaration, jira.Jira, jira.capabilities),
    "servicenow": Kind(ServiceNowDeclaration, servicenow.ServiceNow, servicenow.capabilities),
}
"""Every `kind` in the settings."""


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
    kind = KINDS[sound.kind]
    return compose(
        kind.system,
        kind.capabilities(sound),
        name=name,
        declaration=sound,
        http=http,
        event_secrets=event_secrets,
    )


def declaration_of(name: str, declaration: Mapping[str, Any]) -> Declaration:
    """Return a declaration, as JSON has it, in the model of its kind.

    Raises:
        ConfigurationError: see `open_system`.
    """
    kind = str(declaration.get("kind"))
    if kind not in KINDS:
        raise ConfigurationError(f"{name}: kind {kind!r} is not known; there is {', '.join(KINDS)}")
    model = KINDS[kind].declaration
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
