"""Asking a token endpoint: any grant, any client authentication, and the server's own clock."""

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
"""Some servers name a wrong secret or key `unauthorized_client`, the code for a missing grant."""

_PROOFS: Final = ("client_id", "client_secret", "client_assertion", "client_assertion_type")

_HEADERS: Final = {
    "Accept": "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenParameters:
    """What a token is to be good for (RFC 6749 3.3, RFC 8707), and what else a server wants.

    `scheme` is the word before the token where it is used.
    """

    scope: str = ""
    resource: Sequence[str] = ()
    audience: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "Bearer"


class TokenEndpoint:
    """One client at one token endpoint.

    Several authentications are secrets or keys that are live during a rotation: where the endpoint
    does not know one, the next is tried, and the one that worked is first from then on.
    Where an assertion is refused and the answer's `Date` shows another time than ours, it is dated
    in the server's time from then on, so that a wrong clock costs one more request and nothing
    else; while assertions are taken, a wrong `Date` (of a gateway) does no harm.
    `default_lifetime` (milliseconds) is for servers that do not say how long a token lives, `dpop`
    is the key that its tokens are to be bound to.
    """

    def __init__(
        self,
        *,
        connect: Callable[[str], Destination],
        metadata: Discovery | StaticMetadata,
        authentications: Sequence[ClientAuthentication],
        clock: Clock,
        asked: TokenParameters | None = None,
        default_lifetime: int = DEFAULT_LIFETIME,
        dpop: Dpop | None = None,
    ) -> None:
        self._connect = connect
        self._metadata = metadata
        self._authentications = list(authentications)
        self._clock = clock
        self._asked = asked or TokenParameters()
        self._default_lifetime = default_lifetime
        self._dpop = dpop
        self._offset = 0
        self._heard = 0
        self._connected: tuple[str, Destination] | None = None

    async def ask(self, grant: Grant) -> Token:
        """Return a fresh token.

        Raises:
            TokenRefused: the endpoint refuses client or grant.
            ConfigurationError: no usable endpoint, key or token.
            TemporaryError: no token now. `sent` is True only where the grant is good for one use
                and may be used up: else it speaks of the call that needs the token, which was
                not sent.
        """
        try:
            metadata = await self._metadata.server()
            return await self._in_turn(grant, metadata)
        except TemporaryError as error:
            raise TemporaryError(
                str(error),
                retry_after=error.retry_after,
                maybe_sent=error.maybe_sent and grant.single_use,
            ) from error

    async def _in_turn(self, grant: Grant, metadata: Metadata) -> Token:
        refused: TokenRefused | None = None
        for authentication in tuple(self._authentications):
            try:
                token = await self._in_its_time(grant, authentication, metadata)
            except TokenRefused as error:
                if error.code not in _UNPROVEN:
                    raise
                refused = refused or error
                continue
            self._authentications.sort(key=lambda each: each is not authentication)
            return token
        assert refused is not None
        raise refused

    async def _in_its_time(
        self, grant: Grant, authentication: ClientAuthentication, metadata: Metadata
    ) -> Token:
        """Ask, and once more at once where the answer shows that we had dated the proof wrongly."""
        before = self._offset
        try:
            return await self._once(grant, authentication, metadata)
        except TokenRefused as error:
            dated = authentication.dated if error.code in _UNPROVEN else grant.dated
            explained = error.code in {*_UNPROVEN, "invalid_grant"} and dated
            if not explained or abs(self._heard - before) <= TELLING_SKEW:
                raise
        self._offset = self._heard
        try:
            return await self._once(grant, authentication, metadata)
        except ProxyError:
            self._offset = before
            raise

    async def _once(
        self,
        grant: Grant,
        authentication: ClientAuthentication,
        metadata: Metadata,
        *,
        again: bool = True,
    ) -> Token:
        """Ask; once again with a new proof of possession, where the answer says what it lacked."""
        url = metadata.token_endpoint
        server = Server(metadata.issuer, url, self._clock.now() + self._offset)
        call = self._bound(authentication.sign(self._request(grant, server), server))
        sent_at = self._clock.monotonic()
        # a second arrival would be a replay: of the code, the refresh token or the jti
        once = grant.single_use or grant.dated or authentication.dated or self._dpop
        answer = await self._towards(url).send(call, repeatable=not once)
        self._learn(answer)
        try:
            token = parse_token(
                answer,
                sent_at=sent_at,
                scope="" if grant.grant_type == "refresh_token" else self._asked.scope,
                scheme=self._asked.scheme,
                default_lifetime=self._default_lifetime,
                grant=grant.grant_type,
                bound=self._dpop is not None,
            )
        except TokenRefused as error:
            lacked = self._dpop and self._dpop.on_response(url, answer.headers, error.code)
            if not (lacked and again):
                raise
            # signed anew, because an assertion is taken once
            return await self._once(grant, authentication, metadata, again=False)
        if self._dpop:
            self._dpop.on_response(url, answer.headers)
        return token

    def _bound(self, call: Call) -> Call:
        """Return the token request with the proof of the key that the token is to be bound to."""
        if self._dpop is None:
            return call
        return replace(call, headers={**call.headers, **self._dpop.header(call.method, call.url)})

    def _request(self, grant: Grant, server: Server) -> Call:
        """Return the token request, yet unsigned."""
        asked, form = self._asked, grant.form(server)
        fields = [("grant_type", grant.grant_type), *form.fields]
        if asked.scope and grant.scoped:
            fields.append(("scope", asked.scope))
        if asked.audience:
            fields.append(("audience", asked.audience))
        fields += [("resource", each) for each in asked.resource]
        twice = asked.extra.keys() & {*_PROOFS, *(name for name, _ in fields)}
        if twice:
            raise ConfigurationError(
                f"`extra` names {', '.join(sorted(twice))}, which a token request holds already and"
                " must not hold twice (RFC 6749 3.2): take it out of `extra`"
            )
        fields += asked.extra.items()
        body = add_params_to_qs("", fields).encode()
        return Call("POST", server.token_url, _HEADERS, body, form.secrets)

    def _towards(self, url: str) -> Destination:
        if self._connected is None or self._connected[0] != url:
            self._connected = url, self._connect(url)
        return self._connected[1]

    def _learn(self, answer: Response) -> None:
        """Note how far the server's clock is from ours (RFC 9110 6.6.1)."""
        if (date := http_date(answer.headers.get("Date", ""))) is not None:
            self._heard = date - self._clock.now()
