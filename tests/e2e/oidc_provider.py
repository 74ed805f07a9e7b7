"""oidc-provider, a certified authorization server that we did not write, and what it tells of us.

What it says of a token (introspection, or a JWT that its keys verify) is asked here with plain
aiohttp, so a test never believes our own client about the token that this client got.
"""

import json
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from joserfc import jwt
from joserfc.jwk import KeySet
from yarl import URL

from tests.support.certificates import Authority, Pair

OPAQUE: Final = "https://desk.example.com/opaque"
JWT: Final = "https://desk.example.com/jwt"
SCOPE: Final = "tickets:read tickets:write"
ACCOUNT: Final = "ada"
REDIRECT_URI: Final = "http://127.0.0.1/callback"  # no browser ever goes there
LIFETIME: Final = 600  # seconds of an access token

_INSPECTOR: Final = "inspector"
_PASSWORD: Final = "the-secret-of-the-inspector"
_PROOF: Final = {"Authorization": aiohttp.encode_basic_auth(_INSPECTOR, _PASSWORD)}
_REDIRECTS: Final = 12


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """One running server; `certified_url` is the token endpoint that asks for a certificate."""

    issuer: str
    certified_url: str
    ca_file: Path
    tls: ssl.SSLContext = field(repr=False)

    async def introspect(self, token: str) -> Mapping[str, Any]:
        """Return what the server says of a token (RFC 7662)."""
        url = (await self.metadata())["introspection_endpoint"]
        return await self._json("POST", url, data={"token": token}, headers=_PROOF)

    async def claims(self, token: str) -> Mapping[str, Any]:
        """Return what a JWT says, once the server's published keys verify it (RFC 9068)."""
        published = await self._json("GET", (await self.metadata())["jwks_uri"])
        keys = KeySet.import_key_set({"keys": published["keys"]})
        return jwt.decode(token, keys, algorithms=["RS256"]).claims

    async def metadata(self) -> Mapping[str, Any]:
        """Return the server's own description (RFC 8414)."""
        return await self._json("GET", f"{self.issuer}/.well-known/oauth-authorization-server")

    async def log_in(self, url: str) -> str:
        """Go where a browser would go from an authorization URL; return where it is sent at last.

        The server's pages log the account in and consent by themselves.
        """
        jar = aiohttp.CookieJar(unsafe=True)  # else none for an address without a name
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            for _ in range(_REDIRECTS):
                here = URL(url, encoded=True)
                async with browser.get(here, ssl=self.tls, allow_redirects=False) as page:
                    assert page.status in {302, 303}, await page.text()
                    url = str(here.join(URL(page.headers["Location"], encoded=True)))
                if url.startswith(REDIRECT_URI):
                    return url
        raise AssertionError("the login never came back")

    async def _json(self, method: str, url: str, **how: Any) -> Mapping[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, ssl=self.tls, **how) as answer,
        ):
            assert answer.status == 200, await answer.text()
            told: Mapping[str, Any] = await answer.json()
            return told


@contextmanager
def running(
    program: Sequence[str], authority: Authority, pair: Pair, clients: Sequence[Mapping[str, Any]]
) -> Iterator[OidcProvider]:
    """Run it with these clients (metadata of RFC 7591) until the end of the context.

    Client certificates of the authority are trusted.
    """
    resources = {url: {"scope": SCOPE, "format": kind} for url, kind in _FORMATS.items()}
    configuration = {
        "tls": {
            "key": pair.key.read_text(),
            "cert": pair.certificate.read_text(),
            "ca": authority.ca_file.read_text(),
        },
        "clients": [_INSPECTING, *clients],
        "scopes": [*SCOPE.split(), "openid"],
        "resources": resources,
        "account": ACCOUNT,
        "lifetime": LIFETIME,
    }
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(configuration) + "\n")
            child.stdin.flush()
            where = json.loads(child.stdout.readline())
            trust = ssl.create_default_context(cafile=authority.ca_file)
            yield OidcProvider(where["issuer"], where["alias"], authority.ca_file, trust)
        finally:
            child.stdin.close()  # by which it ends
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


_FORMATS: Final = {OPAQUE: "opaque", JWT: "jwt"}
_INSPECTING: Final = {
    "client_id": _INSPECTOR,
    "client_secret": _PASSWORD,
    "grant_types": ["client_credentials"],
    "response_types": [],
    "redirect_uris": [],
}
