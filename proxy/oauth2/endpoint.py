"""Token requests to one endpoint, with any grant and client authentication (RFC 6749 3.2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from authlib.common.urls import add_params_to_qs

from proxy.domain.clock import Clock
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.oauth2.client_authentication import ClientAuthentication, Server
from proxy.oauth2.discovery import Discovery, Metadata, StaticMetadata
from proxy.oauth2.dpop import TELLING_SKEW, Dpop
from proxy.oauth2.grants import Grant
from proxy.oauth2.tokens import DEFAULT_LIFETIME, Token, TokenRefused, parse_token
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response, http_date

_UNPROVEN: Final = frozenset({"invalid_client", "unauthorized_client"})
"""Codes for a wrong secret or key; the second one means a missing grant, but some use it."""

_PROOFS: Final = ("client_id", "client_secret", "client_assertion", "client_assertion_type")

_HEADERS: Final = {
    "Accept": "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenParameters:
    """The parameters of a token request that do not depend on the grant."""

    scope: str = ""
    """The scopes, separated by spaces (RFC 6749 3.3)."""
    resource: Sequence[str] = ()
    """The URIs of the APIs that the token is for (RFC 8707)."""
    audience: str = ""
    """The audience parameter, for servers that use it in place of `resource`."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further parameters, which some servers require."""
    scheme: str = "Bearer"
    """The authentication scheme under which the API takes the token (RFC 9110 11.4)."""


class TokenEndpoint:
    """One client at one token endpoint.

    During a rotation there are several authentications, one for each secret or key: if the endpoint
    refuses one, the next is tried, and the one that worked is the first from then on.

    If an assertion is refused and the response's `Date` differs from our time, assertions are dated
    in the server's time from then on, so a wrong clock costs only one more request. While
    assertions are accepted, a wrong `Date` (of a gateway) does no harm.

    `default_lifetime` (milliseconds) is for servers that omit `expires_in`; `dpop` is the key that
    tokens are bound to (RFC 9449).
    """

    def __init__(
        self,
        *,
        connect: Callable[[str], Destination],
        metadata: Discovery | StaticMetadata,
        authentications: Sequence[ClientAuthentication],
        clock: Clock,
        parameters: TokenParameters | None = None,
        default_lifetime: int = DEFAULT_LIFETIME,
        dpop: Dpop | None = None,
    ) -> None:
        self._connect = connect
        self._metadata = metadata
        self._authentications = list(authentications)
        self._clock = clock
        self._parameters = parameters or TokenParameters()
        self._default_lifetime = default_lifetime
        self._dpop = dpop
        self._offset = 0
        self._server_offset = 0
        self._connected: tuple[str, Destination] | None = None

    async def ask(self, grant: Grant) -> Token:
        """Return a fresh token.

        Raises:
            TokenRefused: the endpoint refuses client or grant.
            ConfigurationError: endpoint, key or token cannot be used.
            TemporaryError: the endpoint gives no token now. `maybe_sent` is True only if the grant
                can be used once and may have been used: otherwise it speaks of the call that needs
                the token, which was not sent.
        """
        try:
            metadata = await self._metadata.server()
            return await self._try_each_authentication(grant, metadata)
        except TemporaryError as error:
            raise TemporaryError(
                str(error),
                retry_after=error.retry_after,
                maybe_sent=error.maybe_sent and grant.single_use,
            ) from error

    async def _try_each_authentication(self, grant: Grant, metadata: Metadata) -> Token:
        refused: TokenRefused | None = None
        for authentication in tuple(self._authentications):
            try:
                token = await self._with_clock_correction(grant, authentication, metadata)
            except TokenRefused as error:
                if error.code not in _UNPROVEN:
                    raise
                refused = refused or error
                continue
            self._authentications.sort(key=lambda other: other is not authentication)
            return token
        assert refused is not None
        raise refused

    async def _with_clock_correction(
        self, grant: Grant, authentication: ClientAuthentication, metadata: Metadata
    ) -> Token:
        """Request a token, and once more if the response shows that the proof had a wrong time."""
        before = self._offset
        try:
            return await self._request_token(grant, authentication, metadata)
        except TokenRefused as error:
            dated = authentication.dated if error.code in _UNPROVEN else grant.dated
            explained = error.code in {*_UNPROVEN, "invalid_grant"} and dated
            if not explained or abs(self._server_offset - before) <= TELLING_SKEW:
                raise
        self._offset = self._server_offset
        try:
            return await self._request_token(grant, authentication, metadata)
        except ProxyError:
            self._offset = before
            raise

    async def _request_token(
        self,
        grant: Grant,
        authentication: ClientAuthentication,
        metadata: Metadata,
        *,
        again: bool = True,
    ) -> Token:
        """Request a token, and once `again` with the nonce or time that the DPoP proof lacked."""
        url = metadata.token_endpoint
        server = Server(metadata.issuer, url, self._clock.now() + self._offset)
        call = self._with_key_proof(authentication.sign(self._token_request(grant, server), server))
        sent_at = self._clock.monotonic()
        # a call that arrives twice would be a replay: of the code, the refresh token or the jti
        once = grant.single_use or grant.dated or authentication.dated or self._dpop
        answer = await self._destination(url).send(call, repeatable=not once)
        self._note_server_clock(answer)
        try:
            token = parse_token(
                answer,
                sent_at=sent_at,
                scope="" if grant.grant_type == "refresh_token" else self._parameters.scope,
                scheme=self._parameters.scheme,
                default_lifetime=self._default_lifetime,
                grant=grant.grant_type,
                bound=self._dpop is not None,
            )
        except TokenRefused as error:
            lacked = self._dpop and self._dpop.on_response(url, answer.headers, error.code)
            if not (lacked and again):
                raise
            # signed anew, because an assertion is accepted once
            return await self._request_token(grant, authentication, metadata, again=False)
        if self._dpop:
            self._dpop.on_response(url, answer.headers)
        return token

    def _with_key_proof(self, call: Call) -> Call:
        """Return the token request with a DPoP proof, if tokens are bound to a key."""
        if self._dpop is None:
            return call
        return replace(call, headers={**call.headers, **self._dpop.header(call.method, call.url)})

    def _token_request(self, grant: Grant, server: Server) -> Call:
        """Return the token request without client authentication."""
        parameters, form = self._parameters, grant.form(server)
        fields = [("grant_type", grant.grant_type), *form.fields]
        if parameters.scope and grant.scoped:
            fields.append(("scope", parameters.scope))
        if parameters.audience:
            fields.append(("audience", parameters.audience))
        fields += [("resource", resource) for resource in parameters.resource]
        twice = parameters.extra.keys() & {*_PROOFS, *(name for name, _ in fields)}
        if twice:
            raise ConfigurationError(
                f"`extra` names {', '.join(sorted(twice))}, which the token request has already and"
                " must not have twice (RFC 6749 3.2): take it out of `extra`"
            )
        fields += parameters.extra.items()
        body = add_params_to_qs("", fields).encode()
        return Call("POST", server.token_url, _HEADERS, body, form.secrets)

    def _destination(self, url: str) -> Destination:
        if self._connected is None or self._connected[0] != url:
            self._connected = url, self._connect(url)
        return self._connected[1]

    def _note_server_clock(self, answer: Response) -> None:
        """Record the difference between the server's clock and ours (RFC 9110 6.6.1)."""
        if (date := http_date(answer.headers.get("Date", ""))) is not None:
            self._server_offset = date - self._clock.now()
