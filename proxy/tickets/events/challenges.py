"""Answers to challenges, by which a system checks that an event URL is ours: pure.

Anybody may send one. So only a short plain word is signed, which can be neither an event, whose
body is a JSON object, nor a JWT, which has dots; and if the token must itself be a signature of a
fixed word, only that word is signed.
"""

import hmac
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import orjson

from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.declaring.templates import tree_template
from proxy.tickets.events.declaration import Events
from proxy.tickets.events.proofs import HmacKey, Secrets, read_key

_SIGNED: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
LONGEST_ECHO: Final = 1_024


class Challenges:
    """Answers the challenges of one system, as its declaration says."""

    def __init__(self, events: Events, secrets: Secrets) -> None:
        self._events = events
        self._secrets = secrets
        if events.challenge is not None:
            self._declared = events.challenge
            self._token = compile_path(events.challenge.token)
            self._answer = tree_template(events.challenge.answer, "events.challenge.answer", {})

    def answer(self, method: str, query: Mapping[str, str], body: bytes) -> Any:
        """Return the expected answer, a text or a JSON tree; None if this is not a challenge."""
        if self._events.challenge is None or method != self._declared.method:
            return None
        tree: dict[str, Any] = {"query": dict(query), "body": None}
        if method == "POST":
            with suppress(orjson.JSONDecodeError):
                tree["body"] = orjson.loads(body)
        token = self._token(tree)
        if not isinstance(token, str) or not self._is_shaped(token):
            return None
        names = {"token": token}
        if self._declared.is_signed:
            key = self._key(token)
            if key is None:
                return None
            names["signature"] = key.signature(token.encode()).decode()
        return self._answer(names)

    def _is_shaped(self, token: str) -> bool:
        if self._declared.is_signed:
            return bool(_SIGNED.fullmatch(token))
        return 0 < len(token) <= LONGEST_ECHO and token.isascii() and token.isprintable()

    def _key(self, token: str) -> HmacKey | None:
        """Return the secret that the token is signed with, or any if it need not be signed."""
        for secret in self._secrets():
            key = read_key(secret, self._events)
            if not isinstance(key, HmacKey):
                continue
            proves = self._declared.proves
            if not proves or hmac.compare_digest(key.signature(proves.encode()), token.encode()):
                return key
        return None
