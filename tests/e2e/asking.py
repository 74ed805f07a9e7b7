"""Our client, whole, before oidc-provider: what each test there asks with.

A token is believed only after the server itself, or its published keys, have said what it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from yarl import URL

from proxy.domain.clock import SystemClock
from proxy.oauth2.discovery import Discovery
from proxy.oauth2.endpoint import TokenEndpoint, TokenParameters
from proxy.oauth2.grants import AuthorizationCode
from proxy.oauth2.login import Authorization, begin, code_of
from proxy.oauth2.tokens import Token
from proxy.outbound.client import Outbound
from proxy.outbound.credentials import NoCredential
from proxy.outbound.destination import Destination
from proxy.security.tls import Certificate
from tests.e2e.oidc_clients import Client
from tests.e2e.oidc_provider import JWT, LIFETIME, OPAQUE, REDIRECT_URI, SCOPE, OidcProvider
from tests.support.certificates import Pair


@dataclass(frozen=True, slots=True)
class Stage:
    """The running server, and its clients by name."""

    provider: OidcProvider
    clients: Mapping[str, Client]


@dataclass(frozen=True, slots=True)
class Asking:
    """Our client, whole: discovery, TLS, authentication, token endpoint."""

    stage: Stage
    outbound: Outbound

    def connect(self, certificate: Pair | None) -> Callable[[str], Destination]:
        """Return what reaches the server, with this certificate."""
        ours = Certificate(certificate.certificate, certificate.key) if certificate else None
        return lambda url: self.outbound.destination(
            "authorization server",
            origins=[str(URL(url).origin())],
            deadline=10_000,
            concurrency=2,
            credential=NoCredential(),
            ca_file=self.stage.provider.ca_file,
            client_certificate=ours,
        )

    def discovery(self, client: Client) -> Discovery:
        """Return the real metadata."""
        return Discovery(
            self.connect(None),
            self.stage.provider.issuer,
            SystemClock(),
            mtls=client.certificate is not None,
        )

    def endpoint(self, client: Client, resource: str = OPAQUE, scope: str = SCOPE) -> TokenEndpoint:
        """Return the token endpoint as this client uses it."""
        return TokenEndpoint(
            connect=self.connect(client.certificate),
            metadata=self.discovery(client),
            authentications=[client.right],
            clock=SystemClock(),
            parameters=TokenParameters(scope=scope, resource=[resource] if resource else []),
            dpop=client.proofs(),
        )

    async def begin(self, client: Client, resource: str = OPAQUE) -> Authorization:
        """Begin a login."""
        metadata = await self.discovery(client).server()
        return begin(
            metadata.authorization_endpoint,
            client_id=client.client_id,
            redirect_uri=REDIRECT_URI,
            scope=f"openid {SCOPE}" if resource else "openid",
            resource=[resource] if resource else [],
            extra=client.code_binding,
            issuer=metadata.issuer,
            iss_required=metadata.authorization_response_iss_parameter_supported,
        )

    async def log_in(self, client: Client, resource: str = OPAQUE) -> Token:
        """Log in to the end."""
        login = await self.begin(client, resource)
        code = code_of(await self.stage.provider.log_in(login.url), login)
        grant = AuthorizationCode(code, login.verifier, REDIRECT_URI)
        scope = SCOPE if resource else "openid"
        return await self.endpoint(client, resource, scope).ask(grant)

    async def check(self, token: Token, client: Client, resource: str, subject: str | None) -> None:
        """Let the server, or its keys, say that the token is the one asked for."""
        provider = self.stage.provider
        if resource == JWT:
            said = await provider.claims(token.value)
        else:
            said = await provider.introspect(token.value)
            assert said["active"] is True
        assert (said["client_id"], said["aud"]) == (client.client_id, resource)
        assert said["iss"] == provider.issuer
        assert set(said["scope"].split()) == set(SCOPE.split())
        assert said.get("sub") == subject
        assert said.get("cnf") == client.confirmation
        assert token.lifetime == LIFETIME * 1_000
