"""Client authentication at a token endpoint: one class for each method (RFC 6749 2.3)."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal, Protocol
from urllib.parse import quote_plus

from authlib.common.urls import add_params_to_qs

from proxy.errors import ConfigurationError
from proxy.oauth2.assertions import assertion
from proxy.outbound.responses import Call
from proxy.security.private_keys import SigningKey

BasicEncoding = Literal["rfc6749", "raw"]
SecretAlgorithm = Literal["HS256", "HS384", "HS512"]

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Server:
    """The authorization server that a token request goes to."""

    issuer: str
    """Its issuer, empty if it is not known."""
    token_url: str
    """The URL of its token endpoint."""
    now: int
    """The time by its clock, as far as we know it (Unix milliseconds)."""

    def audience(self, chosen: str) -> str:
        """Return the audience of an assertion: `issuer`, `token_endpoint` or any other text.

        If none is chosen it is the issuer, where that is known, because the token endpoint as an
        audience allows injection attacks (draft-ietf-oauth-rfc7523bis).
        """
        named = {
            "": self.issuer or self.token_url,
            "issuer": self.issuer,
            "token_endpoint": self.token_url,
        }
        audience = named.get(chosen, chosen)
        if not audience:
            raise ConfigurationError(
                "the audience of an assertion should be the issuer, which is not known: set"
                " `issuer`, or another `assertion_audience` or `assertion.audience`"
            )
        return audience


class ClientAuthentication(Protocol):
    """One method by which a client proves its identity in a token request."""

    dated: ClassVar[bool]
    """True if the proof contains a time, so that a wrong clock can be why it is refused."""

    def sign(self, call: Call, server: Server) -> Call:
        """Return the token request with the proof in it.

        Raises:
            ConfigurationError: secret or key cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClientSecretBasic:
    """HTTP Basic; id and secret are form-encoded first (RFC 6749 2.3.1), or raw by setting."""

    dated: ClassVar[bool] = False
    client_id: str
    secret: Callable[[], str] = field(repr=False)
    encoding: BasicEncoding = "rfc6749"

    def sign(self, call: Call, server: Server) -> Call:  # noqa: ARG002 - the seam
        """Add the Authorization header."""
        encode = quote_plus if self.encoding == "rfc6749" else str
        secret = self.secret()
        pair = f"{encode(self.client_id)}:{encode(secret)}"
        proof = base64.b64encode(pair.encode()).decode()
        headers = {**call.headers, "Authorization": f"Basic {proof}"}
        return replace(call, headers=headers, secrets=(*call.secrets, secret, proof))


@dataclass(frozen=True, slots=True)
class ClientSecretPost:
    """Id and secret in the form (RFC 6749 2.3.1), for servers that support nothing better."""

    dated: ClassVar[bool] = False
    client_id: str
    secret: Callable[[], str] = field(repr=False)

    def sign(self, call: Call, server: Server) -> Call:  # noqa: ARG002 - the seam
        """Add both to the form."""
        secret = self.secret()
        return _with_fields(
            call, [("client_id", self.client_id), ("client_secret", secret)], secrets=[secret]
        )


@dataclass(frozen=True, slots=True)
class ClientSecretJwt:
    """An assertion signed with the client secret (RFC 7523 2.2, OpenID Connect Core 9)."""

    dated: ClassVar[bool] = True
    client_id: str
    secret: Callable[[], str] = field(repr=False)
    algorithm: SecretAlgorithm = "HS256"
    audience: str = ""
    kind: str = "JWT"

    def sign(self, call: Call, server: Server) -> Call:
        """Add the assertion to the form.

        Raises:
            ConfigurationError: the secret is shorter than the hash (RFC 7518 3.2).
        """
        from joserfc.jwk import OctKey  # noqa: PLC0415 - slow to import, and only this one needs it

        secret = self.secret().encode()
        shortest = int(self.algorithm[2:]) // 8
        if len(secret) < shortest:
            raise ConfigurationError(
                f"the client secret is too short to sign with {self.algorithm}: it needs at least"
                f" {shortest} bytes (RFC 7518 3.2)"
            )
        key = SigningKey(OctKey.import_key(secret), self.algorithm)
        return _with_assertion(call, server, key, self)


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """An assertion signed with a private key (RFC 7523 2.2), which never leaves this program."""

    dated: ClassVar[bool] = True
    client_id: str
    key: Callable[[], SigningKey] = field(repr=False)
    audience: str = ""
    kind: str = "JWT"

    def sign(self, call: Call, server: Server) -> Call:
        """Add the assertion to the form."""
        return _with_assertion(call, server, self.key(), self)


@dataclass(frozen=True, slots=True)
class TlsClientAuth:
    """Mutual TLS (RFC 8705 2): the destination has the certificate, the form the client id."""

    dated: ClassVar[bool] = False
    client_id: str

    def sign(self, call: Call, server: Server) -> Call:  # noqa: ARG002 - the seam
        """Add the id to the form."""
        return _with_fields(call, [("client_id", self.client_id)])


@dataclass(frozen=True, slots=True)
class NoAuthentication:
    """A public client, which only names itself (RFC 6749 3.2.1)."""

    dated: ClassVar[bool] = False
    client_id: str

    def sign(self, call: Call, server: Server) -> Call:  # noqa: ARG002 - the seam
        """Add the id to the form."""
        return _with_fields(call, [("client_id", self.client_id)])


def _with_assertion(
    call: Call, server: Server, key: SigningKey, by: ClientSecretJwt | PrivateKeyJwt
) -> Call:
    signed = assertion(
        key,
        issuer=by.client_id,
        subject=by.client_id,
        audience=server.audience(by.audience),
        now=server.now,
        kind=by.kind,
    )
    fields = [
        ("client_id", by.client_id),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", signed),
    ]
    return _with_fields(call, fields, secrets=[signed])


def _with_fields(call: Call, fields: list[tuple[str, str]], secrets: Iterable[str] = ()) -> Call:
    body = add_params_to_qs((call.body or b"").decode(), fields).encode()
    return replace(call, body=body, secrets=(*call.secrets, *secrets))
