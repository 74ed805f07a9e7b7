"""Settings of the witboost instances: their callbacks, credentials, networks and clients."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from proxy.domain.durations import parse_duration
from proxy.settings.clients import Client
from proxy.settings.secrets import Secret
from proxy.settings.types import (
    CallbackUrl,
    Duration,
    Name,
    NotEmpty,
    OpenedNetworks,
    ReadableFile,
    Section,
    WebUrl,
    WordOff,
)


class Callback(Section):
    """How an instance is called back with a status."""

    method: Literal["auto", "PUT", "PATCH", "POST"] = "auto"
    """The HTTP method; `auto` tries PUT, PATCH and POST, and keeps the one that worked."""
    deadline: Duration = parse_duration("10s")
    """The longest that one call may take."""
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Calls to the instance at once; worker processes share it."""


class AccessToken(Section):
    """A witboost access token, which is exchanged for a short-lived JWT."""

    kind: Literal["access_token"]
    """The usual kind, which may be omitted."""
    url: WebUrl
    """The address of witboost, without a path."""
    networks: OpenedNetworks | None = None
    """Networks that are not public, in which `url` may be; null: those of the instance."""
    access_token: Secret
    """The access token, such as `wbat-...`."""
    duration: Duration = parse_duration("5m")
    """The lifetime of the JWT that is requested."""
    scope: str | None = None
    """The scope of the JWT that is requested; null: none."""


class SharedSecret(Section):
    """A secret shared with witboost's Backstage back end, which signs a JWT for each callback."""

    kind: Literal["shared_secret"]
    """Selects this credential."""
    secret: Secret
    """The value of `backend.auth.keys` in Backstage, in base64."""


class StaticBearer(Section):
    """A bearer token that never changes."""

    kind: Literal["static_bearer"]
    """Selects this credential."""
    token: Secret
    """The token."""


class NoCallbackCredential(Section):
    """No credential, for an instance that requires none."""

    kind: Literal["none"]
    """Selects this credential."""


def _default_kind(section: Any) -> Any:
    """Return a credential without `kind` as one of the usual kind."""
    return {"kind": "access_token", **section} if isinstance(section, Mapping) else section


class WitboostInstance(Section):
    """A witboost instance, which sends hook calls and is called back."""

    callback_urls: Annotated[tuple[CallbackUrl, ...], NotEmpty]
    """Prefixes under which the instance may be called back; other URLs are refused."""
    callback: Callback = Callback()
    """How it is called back."""
    credential: Annotated[
        AccessToken | SharedSecret | StaticBearer | NoCallbackCredential,
        Field(discriminator="kind"),
        BeforeValidator(_default_kind),
    ]
    """The credential of callbacks."""
    networks: OpenedNetworks = ()
    """Networks that are not public, in which the instance may be."""
    direct: bool = False
    """`true`: not through `outbound.proxy`."""
    allow_http: bool = False
    """`true`: credentials may be sent to `http://` addresses of other hosts."""
    ca_file: ReadableFile | None = None
    """Certificates to trust in addition to the system's, in PEM."""
    authentication: Annotated[Literal["keys", "off"], WordOff] = "keys"
    """`keys`: hook calls need the key of a client; `off`: anyone may send them."""
    clients: dict[Name, Client] = Field(default={})
    """The clients that may send hook calls, by name."""
    reuse_after_final: bool = True
    """`true`: a `respondToUrl` may be used again after its request has ended."""
