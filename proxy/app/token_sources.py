"""OAuth2 as the settings say it, made into objects: endpoints, grants and sources of tokens."""

import hashlib
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from yarl import URL

from proxy.app.connection_options import connection_options
from proxy.domain.clock import Clock
from proxy.domain.schedule import Jitter
from proxy.errors import ConfigurationError
from proxy.oauth2.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretJwt,
    ClientSecretPost,
    NoAuthentication,
    PrivateKeyJwt,
    TlsClientAuth,
)
from proxy.oauth2.discovery import Discovery, StaticMetadata
from proxy.oauth2.dpop import Dpop
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.oauth2.grants import ClientCredentials, Grant, JwtBearer, TokenExchange
from proxy.oauth2.refresh_grant import RefreshTokenFetcher
from proxy.oauth2.shared_tokens import RefreshTokens, SharedTokenSlot, TokenIdentity
from proxy.oauth2.token_source import Fetch, TokenSource
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.security.private_keys import SigningKey as LoadedKey
from proxy.security.private_keys import load_key
from proxy.security.tls import Certificate
from proxy.settings.oauth2 import Login, OAuth2, SigningKey
from proxy.settings.ticket_systems import System
from proxy.store.tokens import RedisTokens

_log = logging.getLogger(__name__)

_REQUESTS_IN_A_TURN = 4  # discovery at two addresses, and a second try in the server's time


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSources:
    """Makes what gets tokens; without `tokens`, each process has its own."""

    outbound: Outbound
    clock: Clock
    dice: Jitter
    tokens: RedisTokens | None

    def shared_source(
        self,
        name: str,
        fetch: Fetch,
        identity: TokenIdentity,
        deadline: int,
        *,
        scheme: str = "Bearer",
        dpop: Dpop | None = None,
    ) -> TokenSource:
        """Return a source whose token all processes share; `deadline` (ms) is that of a request."""
        kept = None
        if self.tokens is not None:
            within = _REQUESTS_IN_A_TURN * deadline
            kept = SharedTokenSlot(store=self.tokens, key=identity.key, within=within)
        return TokenSource(
            fetch=fetch,
            clock=self.clock,
            dice=self.dice,
            name=name,
            kept=kept,
            scheme=scheme,
            dpop=dpop,
        )

    def signing_source(self, name: str, fetch: Fetch) -> TokenSource:
        """Return a source for tokens that cost nothing: we sign them ourselves."""
        return TokenSource(fetch=fetch, clock=self.clock, dice=self.dice, name=name)

    def for_system(self, name: str, system: System, auth: OAuth2) -> TokenSource:
        """Return the source of a ticket system's tokens."""
        fetch = self.fetch(name, system, auth)
        return self.shared_source(
            f"{name}: token",
            fetch,
            identity(system, auth),
            system.deadline,
            scheme=auth.scheme,
            dpop=self.dpop(auth),
        )

    def fetch(self, name: str, system: System, auth: OAuth2) -> Fetch:
        """Return what asks for a ticket system's tokens.

        Raises:
            ConfigurationError: see `refresh_tokens`.
        """
        endpoint = self.endpoint(name, system, auth)
        if auth.grant != "refresh_token":
            return partial(endpoint.ask, _grant(auth))
        login = auth.login or Login()
        return RefreshTokenFetcher(
            ask=endpoint.ask,
            tokens=self.refresh_tokens(name),
            key=login_key(system, auth),
            system=name,
            within=_REQUESTS_IN_A_TURN * system.deadline,
            redirect_uri=(login.redirect_uri or "") if login.repeat_redirect_uri else "",
        )

    def refresh_tokens(self, name: str) -> RefreshTokens:
        """Return where refresh tokens are kept.

        Raises:
            ConfigurationError: there is no key to encrypt them with.
        """
        if self.tokens is None:
            raise ConfigurationError(
                f"ticket_systems.{name}: a refresh token must be kept, and nothing is kept without"
                " a key to encrypt it with: make one with `approval-proxy keys new --encryption`,"
                " and name it under encryption.keys"
            )
        return self.tokens

    def endpoint(self, name: str, system: System, auth: OAuth2) -> TokenEndpoint:
        """Return the token endpoint of a ticket system, with our way of proving who we are."""
        connect = self._connect(name, system, auth)
        return TokenEndpoint(
            connect=connect,
            metadata=self.metadata(name, system, auth),
            authentications=_authentications(auth),
            clock=self.clock,
            asked=token_parameters(auth),
            default_lifetime=auth.default_lifetime,
            dpop=self.dpop(auth),
        )

    def dpop(self, auth: OAuth2) -> Dpop | None:
        """Return the proofs of the key that tokens are bound to, if they are."""
        return Dpop(_key_loader(auth.dpop_key), self.clock) if auth.dpop_key else None

    def metadata(self, name: str, system: System, auth: OAuth2) -> Discovery | StaticMetadata:
        """Return where the authorization server is, as the settings say or as it says itself."""
        if auth.token_url is not None:
            return StaticMetadata(auth.issuer or "", auth.token_url, auth.authorization_url or "")
        connect = self._connect(name, system, auth)
        mtls = auth.client_certificate is not None
        return Discovery(connect, auth.issuer or "", self.clock, mtls=mtls)

    def _connect(self, name: str, system: System, auth: OAuth2) -> Callable[[str], Destination]:
        """Return what makes a destination that can only reach the origin of one URL."""

        def connect(url: str) -> Destination:
            return self.outbound.destination(
                f"{name}: token",
                origins=[str(URL(url).origin())],
                deadline=system.deadline,
                concurrency=1,
                credential=NoCredential(),
                client_certificate=certificate(auth),
                **connection_options(system, f"ticket_systems.{name}.auth.networks", auth.networks),
            )

        return connect


def token_parameters(auth: OAuth2) -> TokenParameters:
    """Return what a token is to be good for."""
    return TokenParameters(
        scope=auth.scope or "",
        resource=auth.resource,
        audience=auth.audience or "",
        extra=auth.extra,
        scheme=auth.scheme,
    )


def certificate(auth: OAuth2) -> Certificate | None:
    """Return the client certificate, which tokens may be bound to (RFC 8705 3)."""
    files = auth.client_certificate
    return Certificate(files.certificate, files.key) if files else None


def identity(system: System, auth: OAuth2) -> TokenIdentity:
    """Return what a token belongs to, and the one origin it may be sent to."""
    parts = urlsplit(system.base_url)
    return TokenIdentity(
        issuer=auth.token_url or auth.issuer or "",
        client_id=auth.client_id,
        grant=auth.grant,
        subject=auth.assertion.subject if auth.assertion else "",
        scope=auth.scope or "",
        resource=auth.resource,
        audience=auth.audience or "",
        thumbprint=" ".join(_thumbprints(auth)),
        origins=(f"{parts.scheme}://{parts.netloc}",),
    )


def login_key(system: System, auth: OAuth2) -> str:
    """Return the key under which the refresh token of a login is kept.

    Not bound to certificate or key, which may be renewed (RFC 8705 4, RFC 9449 5): the client is
    what it is bound to, and a new certificate must not make everybody log in again.
    """
    return replace(identity(system, auth), thumbprint="").key


def _thumbprints(auth: OAuth2) -> Iterator[str]:
    """Yield what tokens are bound to: the certificate, the key."""
    if auth.client_certificate:
        yield _thumbprint(auth.client_certificate.certificate)
    if auth.dpop_key:
        yield _key_loader(auth.dpop_key)().key.thumbprint()


def _thumbprint(path: Path) -> str:
    """Return the SHA-256 of a certificate, the first of its file."""
    try:
        first = path.read_text().partition("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(first[0][first[0].index("-----BEGIN") :] + first[1])
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"client_certificate: {path} holds no PEM certificate") from error
    return hashlib.sha256(der).hexdigest()


def _authentications(auth: OAuth2) -> Sequence[ClientAuthentication]:
    """Return one proof for each live secret or key."""
    client, audience = auth.client_id, auth.assertion_audience or ""
    secrets = [secret.reveal for secret in auth.client_secret]
    match auth.client_authentication:
        case "client_secret_basic":
            return [ClientSecretBasic(client, each, auth.basic_encoding) for each in secrets]
        case "client_secret_post":
            return [ClientSecretPost(client, each) for each in secrets]
        case "client_secret_jwt":
            return [ClientSecretJwt(client, each, audience=audience) for each in secrets]
        case "private_key_jwt":
            return [PrivateKeyJwt(client, _key_loader(it), audience) for it in auth.client_keys]
        case "tls_client_auth":
            return [TlsClientAuth(client)]
        case "none":
            return [NoAuthentication(client)]
    assert_never(auth.client_authentication)


def _key_loader(key: SigningKey) -> Callable[[], LoadedKey]:
    """Return what loads a key again when it was replaced; a broken one leaves the former."""
    text = ""
    loaded: LoadedKey | None = None

    def present() -> LoadedKey:
        nonlocal text, loaded
        found = key.key.reveal()
        if loaded is None or found != text:
            try:
                loaded = load_key(found, algorithm=key.algorithm, kid=key.kid)
            except ConfigurationError as error:
                if loaded is None:
                    raise
                _log.warning(
                    "The changed key in %s cannot be used, the former one stays: %s",
                    key.key.source,
                    error,
                )
            text = found
        return loaded

    return present


def _grant(auth: OAuth2) -> Grant:
    if auth.assertion is not None:
        wanted = auth.assertion
        return JwtBearer(
            key=_key_loader(wanted.key),
            issuer=wanted.issuer or auth.client_id,
            subject=wanted.subject,
            audience=wanted.audience or "",
            lifetime=wanted.lifetime,
            claims=wanted.claims,
        )
    if auth.exchange is not None:
        held = auth.exchange
        return TokenExchange(
            subject_token=held.subject_token.reveal,
            subject_token_type=held.subject_token_type,
            actor_token=held.actor_token.reveal if held.actor_token else None,
            actor_token_type=held.actor_token_type,
            requested_token_type=held.requested_token_type or "",
        )
    return ClientCredentials()
