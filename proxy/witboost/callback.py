"""The callback: the final status, sent to the `respondToUrl` of a request.

Platform Admin API, "Update the status of a hook": `{"status": "OK" | "KO", "hookInfo": {...}}`.
The HTTP method is not documented, so it is a setting, or found out once per instance.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import orjson

from proxy.domain.models import TRIAL, Decision, Details, Fulfilment, Record, Ticket
from proxy.errors import ConfigurationError, InvalidRequestError, NotFoundError
from proxy.net.urls import CallbackPrefix, allowed, normalise
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, raise_for_status

Method = Literal["auto", "PUT", "PATCH", "POST"]

PROBED: Final = ("PUT", "PATCH", "POST")
LONGEST_COMMENT: Final = 4_000

_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}
_MESSAGES: Final = {
    Decision.APPROVED: "The request was approved",
    Decision.REJECTED: "The request was rejected",
    Decision.CANCELLED: "The request was cancelled before it was decided",
    Decision.EXPIRED: "Nobody decided the request in time",
    Decision.FAILED: "The request could not be decided",
}
_NOT_GRANTED: Final = "The request was approved, but the access could not be granted"


def callback_body(record: Record, texts: Details) -> bytes:
    """Return the body that reports a decided request; what is absent is left out.

    OK says approved, and not known to have failed after that; everything else is KO.
    """
    assert record.decision is not None
    failed = record.fulfilment is Fulfilment.FAILED
    approved = record.decision is Decision.APPROVED
    message = _NOT_GRANTED if approved and failed else _MESSAGES[record.decision]
    where = f" (ticket {record.ticket_key})" if record.ticket_key else ""
    hook_info = {
        "message": f"{message}{where}.",
        "ticketKey": record.ticket_key,
        "ticketUrl": texts.ticket_url,
        "decision": record.decision.value,
        "decidedBy": record.decided_by,
        "decidedAt": _rfc3339(record.decided_at),
        "comment": texts.comment[:LONGEST_COMMENT],
        "correlationId": record.id,
    }
    present = {key: value for key, value in hook_info.items() if value}
    return orjson.dumps({"status": "OK" if approved and not failed else "KO", "hookInfo": present})


def announcement(record: Record, ticket: Ticket) -> bytes:
    """Return the body that says where the open ticket is, without any status.

    The contract does not promise that such an update leaves the hook open: it is sent only where
    a route asks for it.
    """
    hook_info = {
        "message": f"Waiting for a decision (ticket {ticket.key}).",
        "ticketKey": ticket.key,
        "ticketUrl": ticket.url,
        "ticketStatus": ticket.native_status,
        "correlationId": record.id,
    }
    return orjson.dumps({"hookInfo": {key: value for key, value in hook_info.items() if value}})


def _rfc3339(moment: int) -> str:
    if not moment:
        return ""
    text = datetime.fromtimestamp(moment / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class MethodMemory(Protocol):
    """Where the method that an instance takes is remembered, until its settings change."""

    async def get_callback_method(self, instance: str) -> str | None:
        """Return the method that got a 2xx before, if any."""
        ...

    async def set_callback_method(self, instance: str, method: str) -> None:
        """Remember the method."""
        ...


class Receiver(Protocol):
    """Whoever waits for the final status of a request."""

    @property
    def name(self) -> str:
        """The destination that is called."""
        ...

    @property
    def reuse_after_final(self) -> bool:
        """Whether a URL may be used again after its request has ended."""
        ...

    async def call_back(self, url: str, body: bytes) -> None:
        """Send the body to a request's `respondToUrl`; raises as `Witboost.call_back` does."""
        ...


class NullReceiver:
    """The receiver of trials: the callback is kept for who tries, and goes nowhere."""

    name = TRIAL
    reuse_after_final = False

    async def call_back(self, url: str, body: bytes) -> None:
        """Do nothing: what would be sent is with the request."""


class Witboost:
    """One witboost instance, as the receiver of callbacks."""

    def __init__(
        self,
        *,
        name: str,
        http: Destination,
        method: Method,
        memory: MethodMemory,
        prefixes: Sequence[CallbackPrefix],
        reuse_after_final: bool = True,
    ) -> None:
        self.name = name
        self.reuse_after_final = reuse_after_final
        self._http = http
        self._method = method
        self._memory = memory
        self._prefixes = tuple(prefixes)

    async def call_back(self, url: str, body: bytes) -> None:
        """Send the body to a request's `respondToUrl`; return once witboost has taken it.

        The URL is checked again: the settings may be others than when it was accepted.

        Raises:
            NotFound: no method finds the hook (404 or 405).
            Conflict: witboost says that the hook is already closed.
            ConfigurationError: the URL is not allowed, or the credential is refused.
            PermanentError: any other refusal, redirects among them.
            TemporaryError: no usable answer; `sent` tells whether it may have arrived.
        """
        target = self._checked(url)
        methods = await self._methods()
        for method in methods:
            call = Call(method, target, _JSON, body)
            answer = await self._http.send(call, repeatable=False)
            if answer.status not in {404, 405}:
                break
        if answer.status == 405:  # noqa: PLR2004 - Method Not Allowed (RFC 9110 15.5.6)
            raise NotFoundError(
                f"witboost {self.name} takes none of {', '.join(methods)} at"
                f" {target.partition('?')[0]}: check the instance's `method` and that the hook"
                " still exists",
                status=answer.status,
            )
        raise_for_status(answer, call, system=f"witboost {self.name}")
        if len(methods) > 1:
            await self._memory.set_callback_method(self.name, method)

    def _checked(self, url: str) -> str:
        try:
            target = normalise(url)
        except InvalidRequestError as error:
            raise ConfigurationError(f"witboost {self.name}: {error}") from error
        if not allowed(target, self._prefixes):
            raise ConfigurationError(
                f"witboost {self.name}: the request's respondToUrl {target.partition('?')[0]} is"
                " outside the configured callback prefixes, so nothing was sent: add the prefix"
                " if the instance has moved",
                request_specific=True,
            )
        return target

    async def _methods(self) -> Sequence[str]:
        if self._method != "auto":
            return (self._method,)
        get_callback_method = await self._memory.get_callback_method(self.name)
        return (get_callback_method,) if get_callback_method else PROBED
