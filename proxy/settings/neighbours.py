"""Clients, witboost instances and outbound calls."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from proxy.domain.durations import parse_duration
from proxy.settings.secrets import Secret
from proxy.settings.types import (
    CallbackUrl,
    Duration,
    KeyHash,
    Name,
    NotEmpty,
    OpenedNetworks,
    ReadableFile,
    Section,
    WebUrl,
    WordOff,
)


class ClientKey(Section):
    """A key that we know by its hash; from the day after `expires`, or that moment, it is over."""

    hash: KeyHash
    expires: AwareDatetime | date | None = None

    @property
    def until(self) -> int | None:
        """Until when it is good, in milliseconds since the epoch; a day ends at midnight UTC."""
        if self.expires is None:
            return None
        end = self.expires
        if not isinstance(end, datetime):
            end = datetime.combine(end + timedelta(days=1), time(), UTC)
        return int(end.timestamp() * 1_000)


def _key(value: Any) -> Any:
    return {"hash": value} if isinstance(value, str) else value


class Client(Section):
    """A caller of the API; several keys may be valid at once, for rotation."""

    keys: Annotated[tuple[Annotated[ClientKey, BeforeValidator(_key)], ...], NotEmpty]


class Operator(Client):
    """A person or a program at the operator API.

    `read` sees every request; `operate` also acts on them; `admin` also pauses what all share.
    """

    role: Literal["read", "operate", "admin"] = "operate"


class Callback(Section):
    """How an instance takes a status; `auto` tries PUT, PATCH and POST and keeps what worked."""

    method: Literal["auto", "PUT", "PATCH", "POST"] = "auto"
    deadline: Duration = parse_duration("10s")
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 16


class AccessToken(Section):
    """A witboost access token, exchanged at `url` for a short-lived JWT.

    `networks` are those of the instance where nothing else is said.
    """

    kind: Literal["access_token"]
    url: WebUrl
    networks: OpenedNetworks | None = None
    access_token: Secret
    duration: Duration = parse_duration("5m")
    scope: str | None = None


class SharedSecret(Section):
    """A secret shared with witboost's Backstage back end, which signs a JWT for each callback."""

    kind: Literal["shared_secret"]
    secret: Secret


class StaticBearer(Section):
    """A bearer token that never changes."""

    kind: Literal["static_bearer"]
    token: Secret


class NoCallbackCredential(Section):
    """Callbacks that prove nothing, for an instance which asks for no proof."""

    kind: Literal["none"]


def _by_access_token(section: Any) -> Any:
    """Take a credential that does not say its kind for the usual one."""
    return {"kind": "access_token", **section} if isinstance(section, Mapping) else section


class WitboostInstance(Section):
    """A witboost that sends hook calls; it is called back under `callback_urls` only."""

    callback_urls: Annotated[tuple[CallbackUrl, ...], NotEmpty]
    callback: Callback = Callback()
    credential: Annotated[
        AccessToken | SharedSecret | StaticBearer | NoCallbackCredential,
        Field(discriminator="kind"),
        BeforeValidator(_by_access_token),
    ]
    networks: OpenedNetworks = ()
    direct: bool = False
    allow_http: bool = False
    ca_file: ReadableFile | None = None
    authentication: Annotated[Literal["keys", "off"], WordOff] = "keys"
    clients: dict[Name, Client] = Field(default={})
    reuse_after_final: bool = True


def _is_web_url(secret: Secret) -> Secret:
    parts = urlsplit(secret.reveal())
    if secret.readable and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise ValueError("not the URL of an HTTP proxy (expected http://host:3128)")
    return secret


class EgressProxy(Section):
    """An HTTP proxy that calls leave through; its URL may hold user and password."""

    url: Annotated[Secret, AfterValidator(_is_web_url)]
    networks: OpenedNetworks = ()


class Outbound(Section):
    """The rules for every outgoing call; `loopback` allows this machine, for demos and tests."""

    loopback: bool = False
    proxy: EgressProxy | None = None
