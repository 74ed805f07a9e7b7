"""Ticket systems in the settings: their declaration, and the parts that are never stored.

A declaration is frozen with each request; credentials, certificates and event secrets are not, so
that they can be rotated while requests are open.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, cast

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from proxy.settings.oauth2 import OAuth2
from proxy.settings.secrets import Secret
from proxy.settings.types import OpenedNetworks, ReadableFile, Section, WebUrl
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.model import DeclarationModel, HeaderName
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.proofs import read_key
from proxy.tickets.jira.declaration import JiraDeclaration, JiraEvents
from proxy.tickets.rest.declaration import RestDeclaration
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration, ServiceNowEvents


class FixedHeader(Section):
    """A header that never changes, such as an API key."""

    kind: Literal["header"]
    """Selects a fixed header."""
    name: HeaderName
    """The name of the header."""
    value: Secret
    """Its value."""


class NoCredential(Section):
    """No credential."""

    kind: Literal["none"]
    """Selects no credential."""


Part = TypeVar("Part", bound=DeclarationModel)


def _part(model: type[Part], whole: DeclarationModel, **replaced: Any) -> Part:
    """Return the fields that a model has of one of its subclasses, which has validated them."""
    fields = {name: getattr(whole, name) for name in model.model_fields}
    return cast("Part", model.model_construct(**fields | replaced))


class SignedEvents(Events):
    """The proof of events, with the secrets or published keys that are valid now."""

    declared: ClassVar[type[Events]] = Events

    jwks_url: WebUrl | None = None
    """The address of the public keys that sign tokens, in place of `secrets`; null: none."""
    jwks_networks: OpenedNetworks | None = None
    """Networks that are not public, in which `jwks_url` may be; null: as for the system."""
    secrets: Annotated[tuple[Secret, ...], Field(validate_default=True)] = ()
    """The valid secrets; several at once, so that they can be rotated."""

    @field_validator("secrets")
    @classmethod
    def _something_proves(
        cls, secrets: tuple[Secret, ...], info: ValidationInfo
    ) -> tuple[Secret, ...]:
        token = info.data.get("token")
        public = info.data.get("auth") == "jwt" and token is not None and token.is_public
        if not secrets and not public and info.data.get("jwks_url") is None:
            raise ValueError("empty: at least one is required")
        return secrets

    @model_validator(mode="after")
    def _can_be_verified(self) -> Self:
        public = self.auth == "jwt" and self.token.is_public
        if public != (self.jwks_url is not None):
            raise ValueError(
                "jwks_url: goes with auth: jwt and token.algorithms of public keys, such as RS256"
            )
        if public and (self.secrets or not self.token.audience):
            raise ValueError(
                "jwks_url: needs token.audience, as the issuer signs tokens for others too, and no"
                " secrets"
            )
        return self

    @model_validator(mode="after")
    def _secrets_are_keys(self) -> Self:
        for index, secret in enumerate(self.secrets):
            if self.auth == "hmac" and secret.readable:
                try:
                    read_key(secret.reveal().encode(), self)
                except ValueError as error:
                    raise ValueError(f"secrets.{index} {error}") from None
        return self


class System(Declaration):
    """The settings of every ticket system that are not part of its stored declaration."""

    declared: ClassVar[type[Declaration]]

    auth: Annotated[OAuth2 | FixedHeader | NoCredential, Field(discriminator="kind")]
    """The credential of every call."""
    secret_headers: dict[HeaderName, Secret] = Field(default={})
    """Headers of every call in addition to `auth`, such as the key of an API gateway."""
    networks: OpenedNetworks = ()
    """Networks that are not public, in which the system may be."""
    direct: bool = False
    """`true`: not through `outbound.proxy`."""
    ca_file: ReadableFile | None = None
    """Certificates to trust in addition to the system's, in PEM."""
    allow_http: bool = False
    """`true`: credentials may be sent to `http://` addresses of other hosts."""
    events: SignedEvents | None = None
    """The events that the system sends; null: its tickets are polled alone."""

    @property
    def declaration(self) -> Declaration:
        """The part that is frozen with a request: no credentials, certificates or secrets."""
        events = self.events and _part(self.events.declared, self.events)
        return _part(self.declared, self, events=events)

    def event_secrets(self) -> tuple[bytes, ...]:
        """Return the secrets that may prove an event now, in any order."""
        return (
            tuple(secret.reveal().encode() for secret in self.events.secrets) if self.events else ()
        )


def overridden(declaration: Declaration, changes: Mapping[str, Any]) -> Declaration:
    """Return a declaration with some of its parts replaced, as deep as the changes go.

    Raises:
        ValidationError: what comes out is not sound.
    """
    if not changes:
        return declaration
    return type(declaration).model_validate(_merged(declaration.model_dump(mode="json"), changes))


def _merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for name, change in changes.items():
        match merged.get(name), change:
            case Mapping() as below, Mapping():
                merged[name] = _merged(below, change)
            case _:
                merged[name] = change
    return merged


class RestSystem(RestDeclaration, System):
    """A ticket system behind a declared REST API."""

    declared: ClassVar = RestDeclaration

    events: SignedEvents | None = None
    """The events that the system sends; null: its tickets are polled alone."""


class SignedServiceNowEvents(ServiceNowEvents, SignedEvents):
    """Events of a business rule, with the secrets that are live now."""

    declared: ClassVar = ServiceNowEvents


class ServiceNowSystem(ServiceNowDeclaration, System):
    """A ServiceNow instance."""

    declared: ClassVar = ServiceNowDeclaration

    events: SignedServiceNowEvents | None = None
    """The events of a business rule; null: tickets are polled alone."""


class SignedJiraEvents(JiraEvents, SignedEvents):
    """Webhooks of a Jira site, with the secrets that are live now."""

    declared: ClassVar = JiraEvents


class JiraSystem(JiraDeclaration, System):
    """Requests of Jira Service Management, or issues of Jira."""

    declared: ClassVar = JiraDeclaration

    events: SignedJiraEvents | None = None
    """The webhooks of the site; null: tickets are polled alone."""


def _kind(section: Any) -> Any:
    """Return the kind of a system that is read, or written; `rest` where none is said."""
    if isinstance(section, Mapping):
        return section.get("kind", "rest")
    return getattr(section, "kind", None)


TicketSystem = Annotated[
    Annotated[RestSystem, Tag("rest")]
    | Annotated[ServiceNowSystem, Tag("servicenow")]
    | Annotated[JiraSystem, Tag("jira")],
    Discriminator(_kind),
]
"""A ticket system of any kind."""
