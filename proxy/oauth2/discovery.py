"""The endpoints of an authorization server: discovered from its issuer, or set in the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from proxy.domain.clock import Clock
from proxy.domain.schedule import HOUR, MINUTE
from proxy.errors import ConfigurationError, ProxyError, TemporaryError
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, Response, retry_after

KEPT: Final = HOUR
ASKED_AGAIN: Final = MINUTE
"""The pause between attempts to renew a document, which is used meanwhile (milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata of an authorization server (RFC 8414 2), as far as they are used."""

    issuer: str
    """The issuer identifier, empty if the settings name none."""
    token_endpoint: str
    """The endpoint to call: with mutual TLS its alias, if it has one (RFC 8705 5)."""
    authorization_endpoint: str = ""
    """The URL of a login, empty if there is none."""
    authorization_response_iss_parameter_supported: bool = False
    """True if the server names itself in the answers to logins (RFC 9207 3)."""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ()
    """The names of the client authentications that it accepts."""


@dataclass(frozen=True, slots=True)
class StaticMetadata:
    """Endpoints that the settings name."""

    issuer: str
    """The issuer, empty if it is not known."""
    token_url: str
    """The token endpoint."""
    authorization_url: str = ""
    """The authorization endpoint, empty if nobody logs in."""

    async def server(self) -> Metadata:
        """Return what the settings say."""
        return Metadata(
            issuer=self.issuer,
            token_endpoint=self.token_url,
            authorization_endpoint=self.authorization_url,
        )


class Discovery:
    """Endpoints in the metadata that the issuer publishes, cached for an hour.

    If a renewal fails, the last good document stays in use.
    """

    def __init__(
        self, http: Callable[[str], Destination], issuer: str, clock: Clock, *, mtls: bool = False
    ) -> None:
        self._connect = http
        self._issuer = issuer
        self._clock = clock
        self._mtls = mtls
        self._http: Destination | None = None
        self._metadata: Metadata | None = None
        self._renew_at = 0

    async def server(self) -> Metadata:
        """Return the metadata.

        Raises:
            ConfigurationError: the issuer has no document, or that of another issuer.
            TemporaryError: the issuer does not answer, and nothing is cached.
        """
        if self._metadata is not None and self._clock.monotonic() < self._renew_at:
            return self._metadata
        try:
            self._metadata, pause = await self._fetch(), KEPT
        except ProxyError:
            if self._metadata is None:
                raise
            pause = ASKED_AGAIN
        self._renew_at = self._clock.monotonic() + pause
        return self._metadata

    async def _fetch(self) -> Metadata:
        """Return the metadata in the first usable document.

        RFC 8414 3.1 puts its path before that of the issuer, OpenID Connect Discovery 4 behind it.
        The first URL may be outside the issuer's path, where another server answers with a page.
        """
        if self._http is None:
            self._http = self._connect(self._issuer)
        passing: TemporaryError | None = None
        unusable: ConfigurationError | None = None
        for url in _well_known_urls(self._issuer):
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
                    f"{answer.label} answered {answer.status}",
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


def _well_known_urls(issuer: str) -> tuple[str, str]:
    """Return the URLs of the metadata of RFC 8414 and of OpenID Connect."""
    from authlib.oauth2 import rfc8414  # noqa: PLC0415 - slow to import, and not all discover
    from authlib.oidc import discovery as openid  # noqa: PLC0415

    return (
        rfc8414.get_well_known_url(issuer.rstrip("/"), external=True),
        openid.get_well_known_url(issuer, external=True),
    )


def read_metadata(answer: Response, *, issuer: str, mtls: bool) -> Metadata:
    """Return the metadata in a document; with `mtls` the endpoints for mutual TLS are preferred.

    Raises:
        ConfigurationError: it is not a JSON object, has another issuer (RFC 8414 3.3), or an
            endpoint is missing or not https (http is allowed if the issuer itself is http).
    """
    try:
        tree = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        tree = None
    if not isinstance(tree, dict):
        raise ConfigurationError(
            f"{answer.label} answered no JSON object: check that `issuer` is the issuer's URL"
        )
    if tree.get("issuer") != issuer:
        raise ConfigurationError(
            f"{answer.label} returned another issuer's document than {issuer} (RFC 8414 3.3): set"
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
