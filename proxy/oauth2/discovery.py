"""Where an authorization server's endpoints are: told by its issuer, or by the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from authlib.oauth2.rfc8414 import get_well_known_url as oauth_url
from authlib.oidc.discovery import get_well_known_url as openid_url

from proxy.domain.clock import Clock
from proxy.domain.schedule import HOUR, MINUTE
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response, retry_after

KEPT: Final = HOUR
ASKED_AGAIN: Final = MINUTE
"""How long a good document is used after a renewal failed, before the next try (milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an authorization server says of itself (RFC 8414 2), as far as it is used.

    `token_endpoint` is the one to call: with mutual TLS the alias for it, where there is one
    (RFC 8705 5).
    """

    issuer: str
    token_endpoint: str
    authorization_endpoint: str = ""
    authorization_response_iss_parameter_supported: bool = False
    token_endpoint_auth_methods_supported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticMetadata:
    """Endpoints that the settings name; the issuer may be unknown."""

    issuer: str
    token_url: str
    authorization_url: str = ""

    async def server(self) -> Metadata:
        """Return what the settings say."""
        return Metadata(
            issuer=self.issuer,
            token_endpoint=self.token_url,
            authorization_endpoint=self.authorization_url,
        )


class Discovery:
    """Endpoints that the issuer tells, kept for an hour.

    Where a renewal fails, the last good document is used on.
    """

    def __init__(
        self, http: Callable[[str], Destination], issuer: str, clock: Clock, *, mtls: bool = False
    ) -> None:
        self._connect = http
        self._issuer = issuer
        self._clock = clock
        self._mtls = mtls
        self._http: Destination | None = None
        self._known: Metadata | None = None
        self._renew_at = 0

    async def server(self) -> Metadata:
        """Return the metadata.

        Raises:
            ConfigurationError: there is no document, or it is not that of this issuer.
            TemporaryError: none can be had now.
        """
        if self._known is not None and self._clock.monotonic() < self._renew_at:
            return self._known
        try:
            self._known, pause = await self._ask(), KEPT
        except ProxyError:
            if self._known is None:
                raise
            pause = ASKED_AGAIN
        self._renew_at = self._clock.monotonic() + pause
        return self._known

    async def _ask(self) -> Metadata:
        """Return the first usable document.

        RFC 8414 3.1 inserts its path without a final slash; OpenID Connect Discovery 4 appends.
        Where the first lies outside the issuer's path, somebody else may answer it with a page.
        """
        if self._http is None:
            self._http = self._connect(self._issuer)
        passing: TemporaryError | None = None
        unusable: ConfigurationError | None = None
        for url in (
            oauth_url(self._issuer.rstrip("/"), external=True),
            openid_url(self._issuer, external=True),
        ):
            try:
                call = Call("GET", url, {"Accept": "application/json"})
                answer = await self._http.send(call, repeatable=True)
            except TemporaryError as error:
                passing = error
                continue
            if answer.status == 200:  # noqa: PLR2004 - the only success (RFC 8414 3.2)
                try:
                    return read_metadata(answer, issuer=self._issuer, mtls=self._mtls)
                except ConfigurationError as error:
                    unusable = unusable or error
            elif answer.status in {408, 425, 429} or answer.status >= 500:  # noqa: PLR2004 - HTTP
                passing = TemporaryError(
                    f"{answer.place} answered {answer.status}",
                    retry_after=retry_after(answer.status, answer.headers, self._clock.now()),
                )
        if passing is not None:
            raise TemporaryError(
                f"the issuer {self._issuer} cannot say where its endpoints are: {passing}",
                retry_after=passing.retry_after,
                maybe_sent=False,
            )
        raise unusable or ConfigurationError(
            f"the issuer {self._issuer} publishes neither RFC 8414 metadata nor an OpenID"
            " configuration (redirects are never followed): correct `issuer`, or set `token_url`"
        )


def read_metadata(answer: Response, *, issuer: str, mtls: bool) -> Metadata:
    """Return a document's metadata; the endpoints of mutual TLS are preferred if `mtls`.

    Raises:
        ConfigurationError: no JSON object, another issuer (RFC 8414 3.3), or an endpoint that is
            missing or not https (http only where the issuer itself is http).
    """
    try:
        tree = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        tree = None
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{answer.place} answered no JSON object: check that `issuer` is the issuer's URL"
        )
    if tree.get("issuer") != issuer:
        raise ConfigurationError(
            f"{answer.place} is the document of another issuer than {issuer} (RFC 8414 3.3): set"
            " `issuer` exactly as the authorization server writes it"
        )
    aliases = tree.get("mtls_endpoint_aliases") if mtls else None
    aliases = aliases if isinstance(aliases, dict) else {}
    methods = tree.get("token_endpoint_auth_methods_supported")
    login = "authorization_endpoint"
    return Metadata(
        issuer=issuer,
        token_endpoint=_endpoint({**tree, **aliases}, "token_endpoint", issuer),
        authorization_endpoint=_endpoint(tree, login, issuer) if tree.get(login) else "",
        authorization_response_iss_parameter_supported=tree.get(
            "authorization_response_iss_parameter_supported"
        )
        is True,
        token_endpoint_auth_methods_supported=tuple(
            method for method in methods if isinstance(method, str)
        )
        if isinstance(methods, list)
        else (),
    )


def _endpoint(tree: Mapping[str, Any], name: str, issuer: str) -> str:
    url = tree.get(name)
    schemes = {"https", urlsplit(issuer).scheme}
    try:
        usable = isinstance(url, str) and urlsplit(url).scheme in schemes and urlsplit(url).hostname
    except ValueError:
        usable = False
    if not (usable and isinstance(url, str)):
        raise ConfigurationError(
            f"the issuer {issuer} gives no usable {name}: it must be an https URL; have its"
            " metadata repaired, or set the endpoints in the settings"
        )
    return url
