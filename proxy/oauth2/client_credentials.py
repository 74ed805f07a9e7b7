"""Asking a token endpoint for a token in our own name (RFC 6749 4.4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.domain.clock import Clock
from proxy.errors import TemporaryError
from proxy.oauth2.requests import (
    DEFAULT_LIFETIME,
    ClientAuthentication,
    Token,
    parse_token,
    token_request,
)
from proxy.outbound import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """One client at one token endpoint; call it for a fresh token.

    `default_lifetime` (milliseconds) is for servers that do not say how long a token lives.
    """

    http: Destination
    token_url: str
    authentication: ClientAuthentication
    clock: Clock
    scope: str = ""
    resource: Sequence[str] = ()
    audience: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    default_lifetime: int = DEFAULT_LIFETIME

    async def __call__(self) -> Token:
        """Return a fresh token.

        Raises:
            ConfigurationError: the endpoint refuses the client, or gives no usable token.
            TemporaryError: no token now.
        """
        call = token_request(
            self.token_url,
            scope=self.scope,
            resource=self.resource,
            audience=self.audience,
            extra=self.extra,
        )
        sent_at = self.clock.monotonic()
        try:
            answer = await self.http.send(self.authentication.sign(call), repeatable=True)
        except TemporaryError as error:
            # what may have been sent is the question for a token, never the call that needs it
            raise TemporaryError(str(error), retry_after=error.retry_after, sent=False) from error
        return parse_token(
            answer, sent_at=sent_at, scope=self.scope, default_lifetime=self.default_lifetime
        )
