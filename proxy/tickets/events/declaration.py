"""How the events of a ticket system prove where they come from, as a person writes it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, model_validator

from proxy.domain.durations import Milliseconds
from proxy.tickets.declaring.calls import DeclarationModel, HeaderName
from proxy.tickets.declaring.expressions import Expression
from proxy.tickets.declaring.templates import leaves_of, mentions, problems_of

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
"""What `auth: NAME` stands for; each part can be replaced beside it."""

TokenAlgorithm = Literal[
    "HS256", "HS384", "HS512",
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


class EventToken(DeclarationModel):
    """What a JWT must say, beside that it is not over (RFC 7519, RFC 8725 3.1, 3.8, 3.9, 3.11).

    Only these algorithms are tried, and each only with keys of its kind.
    """

    algorithms: Annotated[tuple[TokenAlgorithm, ...], Field(min_length=1)] = ("HS256",)
    issuer: Annotated[str, Field(min_length=1)] | None = None
    audience: Annotated[str, Field(min_length=1)] | None = None
    type: Annotated[str, Field(min_length=1)] = "JWT"

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Self:
        """Never try a secret as a public key or the other way round (RFC 8725 2.1, 3.1)."""
        if len({name.startswith("HS") for name in self.algorithms}) > 1:
            raise ValueError("algorithms: HS... need a secret, the others a public key; not both")
        return self

    @property
    def is_public(self) -> bool:
        """Whether tokens are verified with public keys."""
        return not self.algorithms[0].startswith("HS")


class Challenge(DeclarationModel):
    """What a system asks before it sends events to an address, and what it wants to hear.

    `token` finds in `query` or `body` what it sends. `answer`, a text or a JSON tree, may mention
    `token` and `signature`, the token's under an event secret; `proves` says of what the token is
    a signature itself.
    """

    method: Literal["GET", "POST"] = "GET"
    token: Expression
    answer: JsonValue
    proves: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _answer_is_sound(self) -> Self:
        leaves = [(path, leaf) for path, leaf in leaves_of(self.answer) if isinstance(leaf, str)]
        known: Mapping[str, tuple[str, ...]] = {"token": (), "signature": ()}
        problems = [
            f"answer{'.' if path else ''}{path} {problem}"
            for path, leaf in leaves
            for problem in problems_of(leaf, known)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        if not any(mentions(leaf, name) for _, leaf in leaves for name in known):
            raise ValueError("answer mentions neither token nor signature: it would answer nothing")
        return self


class Events(DeclarationModel):
    """How pushed events prove where they come from, and which ticket they name.

    `hmac` signs `signed`, in which `{timestamp}`, `{id}` and `{body}` stand for two headers and the
    raw body; `jwt` sends a signed token, which covers no body; `static_header` sends a secret as it
    is; `basic` sends user and password. `client_certificate` is a header in which a trusted proxy
    before us names the certificate that it has verified. `sent_at` finds the time of the event in
    its body.
    """

    auth: EventAuth
    header: HeaderName = "Authorization"
    prefix: str = ""
    algorithm: Literal["sha256", "sha512", "sha1", "ed25519"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    key_format: Literal["text", "hex", "base64", "standard_webhooks"] = "text"
    signed: str = "{body}"
    timestamp_header: HeaderName | None = None
    timestamp_format: Literal["seconds", "milliseconds", "rfc3339"] = "seconds"
    tolerance: Annotated[Milliseconds, Field(gt=0)] = 300_000
    token: EventToken = EventToken()
    sent_at: Expression | None = None
    id_header: HeaderName | None = None
    replay_key: Expression | None = None
    ticket: Expression | tuple[Expression, ...]
    challenge: Challenge | None = None

    @model_validator(mode="before")
    @classmethod
    def _preset_taken_apart(cls, given: Any) -> Any:
        """Write out what a preset stands for, so that nothing else needs to know its name."""
        if not isinstance(given, Mapping) or not isinstance(given.get("auth"), str):
            return given
        preset = PRESETS.get(given["auth"], {})
        return {**preset, **given, **({"auth": preset["auth"]} if preset else {})}

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
        """Refuse what would sign with a secret that is no key for that, or is shown to prove."""
        wanted = self.challenge
        leaves = leaves_of(wanted.answer) if wanted else ()
        signs = any(isinstance(it, str) and mentions(it, "signature") for _, it in leaves)
        signs = signs or bool(wanted and wanted.proves)
        if signs and (self.auth != "hmac" or self.algorithm == "ed25519"):
            raise ValueError("challenge: a signature needs auth: hmac, and no public key")
        return self
