"""The declaration of a ticket system's events: how each proves its origin, and names a ticket."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from proxy.domain.durations import Milliseconds
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.model import DeclarationModel, HeaderName
from proxy.tickets.declaring.templates import mentioned, mentions, texts_of, tree_problems

EventAuth = Literal["hmac", "jwt", "static_header", "basic", "client_certificate"]

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    # https://github.com/standard-webhooks/standard-webhooks, spec 1.0.0
    "standard_webhooks": {
        "auth": "hmac",
        "key_format": "standard_webhooks",
        "header": "webhook-signature",
        "encoding": "base64",
        "signed": "{id}.{timestamp}.{body}",
        "timestamp_header": "webhook-timestamp",
        "id_header": "webhook-id",
    },
    # Atlassian, "Webhooks", section "Secure your webhooks"; the identifier is that of an event, and
    # not signed, as the time in the body is; some are delivered late, and five times tried
    "jira": {
        "auth": "hmac",
        "header": "X-Hub-Signature",
        "prefix": "sha256=",
        "id_header": "X-Atlassian-Webhook-Identifier",
        "sent_at": "timestamp",
        "timestamp_format": "milliseconds",
        "tolerance": "2h",
        "ticket": ("issue.id", "issue.key"),
    },
    # a business rule with GlideCertificateEncryption.generateMac
    "servicenow": {
        "auth": "hmac",
        "header": "X-Hmac-Signature",
        "encoding": "base64",
        "signed": "{timestamp}.{body}",
        "timestamp_header": "X-Hmac-Timestamp",
        "ticket": ("sys_id", "number"),
    },
    # Zendesk, "Verifying webhook authenticity"
    "zendesk": {
        "auth": "hmac",
        "header": "X-Zendesk-Webhook-Signature",
        "encoding": "base64",
        "signed": "{timestamp}{body}",
        "timestamp_header": "X-Zendesk-Webhook-Signature-Timestamp",
        "timestamp_format": "rfc3339",
        "id_header": "X-Zendesk-Webhook-Invocation-Id",
    },
    # GLPI 11, src/Webhook.php
    "glpi": {
        "auth": "hmac",
        "header": "X-GLPI-signature",
        "signed": "{body}{timestamp}",
        "timestamp_header": "X-GLPI-timestamp",
        # Webhook::validateCRAChallenge: the token is a signature itself, of these words
        "challenge": {
            "method": "GET",
            "token": "query.crc_token",
            "proves": "validate_cra_challenge",
            "answer": "{{ signature }}",
        },
    },
}
"""The settings that `auth: NAME` stands for; a declaration may replace any of them."""

TokenAlgorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


class EventToken(DeclarationModel):
    """The required claims of a JWT (RFC 7519, RFC 8725 3.1, 3.8, 3.9, 3.11)."""

    algorithms: Annotated[tuple[TokenAlgorithm, ...], Field(min_length=1)] = ("HS256",)
    """The only algorithms that are accepted, each only with keys of its type."""
    issuer: Annotated[str, Field(min_length=1)] | None = None
    """The required `iss`, if it is checked."""
    audience: Annotated[str, Field(min_length=1)] | None = None
    """The required `aud`, if it is checked."""
    type: Annotated[str, Field(min_length=1)] = "JWT"
    """The required `typ` in the header."""

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Self:
        """Never try a secret as a public key or the other way round (RFC 8725 2.1, 3.1)."""
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms: HS... need a secret, the others a public key; not both")
        return self

    @property
    def is_public(self) -> bool:
        """True if tokens are verified with public keys."""
        return not self.algorithms[0].startswith("HS")


class Challenge(DeclarationModel):
    """The challenge that a system sends before it uses an event URL, and the expected answer."""

    method: Literal["GET", "POST"] = "GET"
    """The method of the challenge."""
    token: Expression
    """The expression that finds the token, in `query` or `body`."""
    answer: JsonValue
    """The answer, a text or a JSON tree; it may mention `token` and, signed with an event secret,
    `signature`."""
    proves: Annotated[str, Field(min_length=1)] | None = None
    """The text of which the token itself must be a signature, if it must."""

    @model_validator(mode="after")
    def _answer_is_sound(self) -> Self:
        if problems := tree_problems(self.answer, "answer", {"token": (), "signature": ()}):
            raise ValueError("; ".join(problems))
        if not any(mentioned(source) for _, source in texts_of(self.answer)):
            raise ValueError("answer mentions neither token nor signature: it would answer nothing")
        return self

    @property
    def is_signed(self) -> bool:
        """True if an answer needs a signature, or the token is one."""
        return self.proves is not None or any(
            mentions(source, "signature") for _, source in texts_of(self.answer)
        )


class Events(DeclarationModel):
    """How pushed events prove their origin, and which tickets they name."""

    auth: EventAuth
    """`hmac` is a signature; `jwt` a signed token, which does not cover the body; `static_header` a
    secret as it is; `basic` user and password; `client_certificate` a header in which a trusted
    proxy in front of us names the certificate that it has verified."""
    header: HeaderName = "Authorization"
    """The header with the proof."""
    prefix: str = ""
    """The text before the proof in that header."""
    algorithm: Literal["sha256", "sha512", "sha1", "ed25519"] = "sha256"
    """The hash of an HMAC, or Ed25519."""
    encoding: Literal["hex", "base64"] = "hex"
    """The encoding of the signature."""
    key_format: Literal["text", "hex", "base64", "standard_webhooks"] = "text"
    """The encoding of the secret or public key."""
    signed: str = "{body}"
    """The signed text: `{timestamp}` and `{id}` are two headers, `{body}` is the raw body."""
    timestamp_header: HeaderName | None = None
    """The header with the signed time."""
    timestamp_format: Literal["seconds", "milliseconds", "rfc3339"] = "seconds"
    """The format of that time, and of `sent_at`."""
    tolerance: Annotated[Milliseconds, Field(gt=0)] = 300_000
    """The largest difference between that time and ours."""
    token: EventToken = EventToken()
    """The required claims of a JWT."""
    sent_at: Expression | None = None
    """The expression that finds the time of the event in its body."""
    id_header: HeaderName | None = None
    """The header with the id of the event."""
    replay_key: Expression | None = None
    """The expression that finds the id of the event in its body."""
    ticket: Expression | tuple[Expression, ...]
    """The expressions that find ids or keys of tickets in the body."""
    challenge: Challenge | None = None
    """The challenge that the system sends before it uses our URL, if it does."""

    @model_validator(mode="before")
    @classmethod
    def _preset_taken_apart(cls, section: Any) -> Any:
        """Replace the name of a preset by its settings, so that no other code needs to know it."""
        if not isinstance(section, Mapping) or not isinstance(section.get("auth"), str):
            return section
        preset = PRESETS.get(section["auth"], {})
        return {**preset, **section, **({"auth": preset["auth"]} if preset else {})}

    @model_validator(mode="after")
    def _proves_what_it_says(self) -> Self:
        placeholders = set(re.findall(r"\{[^{}]*\}", self.signed))
        if self.auth != "jwt" and self.token != EventToken():
            raise ValueError(f"token needs auth: jwt, not {self.auth}")
        if self.auth != "hmac":
            if self.signed != "{body}" or self.timestamp_header:
                raise ValueError(f"signed and timestamp_header need auth: hmac, not {self.auth}")
            return self
        if unknown := placeholders - {"{timestamp}", "{id}", "{body}"}:
            raise ValueError(f"signed holds {', '.join(sorted(unknown))}, which is not known")
        if "{body}" not in placeholders:
            raise ValueError("signed lacks {body}: the signature would fit any event")
        if ("{timestamp}" in placeholders) != (self.timestamp_header is not None):
            raise ValueError("timestamp_header and {timestamp} in signed need each other")
        if "{id}" in placeholders and self.id_header is None:
            raise ValueError("{id} in signed needs id_header")
        if self.algorithm == "ed25519" and self.key_format == "text":
            raise ValueError("algorithm: ed25519 needs a public key: key_format hex or base64")
        return self

    @model_validator(mode="after")
    def _challenge_can_be_answered(self) -> Self:
        """Refuse a signature with a secret that is not an HMAC key."""
        signs = self.challenge is not None and self.challenge.is_signed
        if signs and (self.auth != "hmac" or self.algorithm == "ed25519"):
            raise ValueError("challenge: a signature needs auth: hmac, and no public key")
        return self
