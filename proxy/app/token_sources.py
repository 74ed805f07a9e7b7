"""The OAuth2 objects of the settings: token endpoints, grants and token sources."""

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

_REQUESTS_PER_FETCH = 4  # discovery at two URLs, the request, and one more by the server's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSources:
    """Creates token sources; without `tokens`, each process gets its own tokens."""

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
        """Return a source whose token all processes share; `deadline` (ms) is for one request."""
        kept = None
        if self.tokens is not None:
            within = _REQUESTS_PER_FETCH * deadline
            kept = SharedTokenSlot(store=self.tokens, key=identity.key, within=within)
        return TokenSource(
            fetch=fetch,
            clock=self.clock,
            dice=self.dice,
            name=name,
            slot=kept,
            scheme=scheme,
            dpop=dpop,
        )

    def signing_source(self, name: str, fetch: Fetch) -> TokenSource:
        """Return a source of tokens that we sign ourselves, so that they need not be shared."""
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
        """Return the function that requests a ticket system's tokens.

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
            within=_REQUESTS_PER_FETCH * system.deadline,
            redirect_uri=(login.redirect_uri or "") if login.repeat_redirect_uri else "",
        )

    def refresh_tokens(self, name: str) -> RefreshTokens:
        """Return the store of refresh tokens.

        Raises:
            ConfigurationError: no key is configured to encrypt them.
        """
        if self.tokens is None:
            raise ConfigurationError(
                f"ticket_systems.{name}: a refresh token is stored only encrypted, and no key is"
                " configured: make one with `approval-proxy keys new --encryption`, and name it"
                " under encryption.keys"
            )
        return self.tokens

    def endpoint(self, name: str, system: System, auth: OAuth2) -> TokenEndpoint:
        """Return the token endpoint of a ticket system, with our client authentication."""
        connect = self._connect(name, system, auth)
        return TokenEndpoint(
            connect=connect,
            metadata=self.metadata(name, system, auth),
            authentications=_authentications(auth),
            clock=self.clock,
            parameters=token_parameters(auth),
            default_lifetime=auth.default_lifetime,
            dpop=self.dpop(auth),
        )

    def dpop(self, auth: OAuth2) -> Dpop | None:
        """Return the DPoP proofs, if tokens are bound to a key."""
        return Dpop(_key_loader(auth.dpop_key), self.clock) if auth.dpop_key else None

    def metadata(self, name: str, system: System, auth: OAuth2) -> Discovery | StaticMetadata:
        """Return the URLs of the authorization server: from the settings, or by discovery."""
        if auth.token_url is not None:
            return StaticMetadata(auth.issuer or "", auth.token_url, auth.authorization_url or "")
        connect = self._connect(name, system, auth)
        mtls = auth.client_certificate is not None
        return Discovery(connect, auth.issuer or "", self.clock, mtls=mtls)

    def _connect(self, name: str, system: System, auth: OAuth2) -> Callable[[str], Destination]:
        """Return a function that creates a destination for the origin of one URL."""

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
    """Return the scope, resource and audience of the requested tokens."""
    return TokenParameters(
        scope=auth.scope or "",
        resource=auth.resource,
        audience=auth.audience or "",
        extra=auth.extra,
        scheme=auth.scheme,
    )


def certificate(auth: OAuth2) -> Certificate | None:
    """Return the client certificate, to which tokens may be bound (RFC 8705 3)."""
    files = auth.client_certificate
    return Certificate(files.certificate, files.key) if files else None


def identity(system: System, auth: OAuth2) -> TokenIdentity:
    """Return the identity of a token, with the only origin that it may be sent to."""
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
    """Return the key under which the refresh token of a login is stored.

    It does not depend on certificate or DPoP key, which may be renewed (RFC 8705 4, RFC 9449 5):
    a refresh token is bound to the client, and a new certificate must not require a new login.
    """
    return replace(identity(system, auth), thumbprint="").key


def _thumbprints(auth: OAuth2) -> Iterator[str]:
    """Yield the thumbprints that tokens are bound to: of the certificate, of the DPoP key."""
    if auth.client_certificate:
        yield _thumbprint(auth.client_certificate.certificate)
    if auth.dpop_key:
        yield _key_loader(auth.dpop_key)().key.thumbprint()


def _thumbprint(path: Path) -> str:
    """Return the SHA-256 of the first certificate of a file."""
    try:
        first = path.read_text().partition("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(first[0][first[0].index("-----BEGIN") :] + first[1])
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"client_certificate: {path} holds no PEM certificate") from error
    return hashlib.sha256(der).hexdigest()


def _authentications(auth: OAuth2) -> Sequence[ClientAuthentication]:
    """Return one client authentication for each current secret or key."""
    client, audience = auth.client_id, auth.assertion_audience or ""
    secrets = [secret.reveal for secret in auth.client_secret]
    match auth.client_authentication:
        case "client_secret_basic":
            return [ClientSecretBasic(client, secret, auth.basic_encoding) for secret in secrets]
        case "client_secret_post":
            return [ClientSecretPost(client, secret) for secret in secrets]
        case "client_secret_jwt":
            return [ClientSecretJwt(client, secret, audience=audience) for secret in secrets]
        case "private_key_jwt":
            return [PrivateKeyJwt(client, _key_loader(key), audience) for key in auth.client_keys]
        case "tls_client_auth":
            return [TlsClientAuth(client)]
        case "none":
            return [NoAuthentication(client)]
    assert_never(auth.client_authentication)


def _key_loader(key: SigningKey) -> Callable[[], LoadedKey]:
    """Return a function that reloads a replaced key; a broken one does not replace it."""
    text = ""
    loaded: LoadedKey | None = None

    def current() -> LoadedKey:
        nonlocal text, loaded
        text_now = key.key.reveal()
        if loaded is None or text_now != text:
            try:
                loaded = load_key(text_now, algorithm=key.algorithm, kid=key.kid)
            except ConfigurationError as error:
                if loaded is None:
                    raise
                _log.warning(
                    "The changed key in %s cannot be used, the previous one stays in use: %s",
                    key.key.source,
                    error,
                )
            text = text_now
        return loaded

    return current


def _grant(auth: OAuth2) -> Grant:
    if auth.assertion is not None:
        assertion = auth.assertion
        return JwtBearer(
            key=_key_loader(assertion.key),
            issuer=assertion.issuer or auth.client_id,
            subject=assertion.subject,
            audience=assertion.audience or "",
            lifetime=assertion.lifetime,
            claims=assertion.claims,
        )
    if auth.exchange is not None:
        exchange = auth.exchange
        return TokenExchange(
            subject_token=exchange.subject_token.reveal,
            subject_token_type=exchange.subject_token_type,
            actor_token=exchange.actor_token.reveal if exchange.actor_token else None,
            actor_token_type=exchange.actor_token_type,
            requested_token_type=exchange.requested_token_type or "",
        )
    return ClientCredentials()
