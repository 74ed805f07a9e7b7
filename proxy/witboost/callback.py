"""The callback: the final status, sent to the `respondToUrl` of a request.

Platform Admin API, "Update the status of a hook": `{"status": "OK" | "KO", "hookInfo": {...}}`.
The HTTP method is not documented. It is a setting, or with `auto` the proxy tries PUT, PATCH and
POST once and remembers the one that the instance accepts.
"""

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import orjson

from proxy.domain.models import TRIAL, Decision, Details, Fulfilment, Record, Ticket
from proxy.domain.timestamps import rfc3339
from proxy.errors import ConfigurationError, InvalidRequestError, NotFoundError
from proxy.net.urls import CallbackPrefix, allowed, normalise
from proxy.outbound.destination import Destination
from proxy.outbound.responses import Call, raise_for_status

Method = Literal["auto", "PUT", "PATCH", "POST"]

PROBED: Final = ("PUT", "PATCH", "POST")
"""The methods that `auto` tries, in this order."""
LONGEST_COMMENT: Final = 4_000
"""Characters of a comment in the callback; the rest is cut off."""

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
    """Return the body that reports the final status; empty values are left out.

    The status is OK if the request was approved and its fulfilment did not fail, otherwise KO.
    """
    assert record.decision is not None
    failed = record.fulfilment is Fulfilment.FAILED
    approved = record.decision is Decision.APPROVED
    message = _NOT_GRANTED if approved and failed else _MESSAGES[record.decision]
    ticket = f" (ticket {record.ticket_key})" if record.ticket_key else ""
    hook_info = {
        "message": f"{message}{ticket}.",
        "ticketKey": record.ticket_key,
        "ticketUrl": texts.ticket_url,
        "decision": record.decision.value,
        "decidedBy": record.decided_by,
        "decidedAt": rfc3339(record.decided_at) if record.decided_at else "",
        "comment": texts.comment[:LONGEST_COMMENT],
        "correlationId": record.id,
    }
    present = {key: value for key, value in hook_info.items() if value}
    return orjson.dumps({"status": "OK" if approved and not failed else "KO", "hookInfo": present})


def announcement(record: Record, ticket: Ticket) -> bytes:
    """Return the body that names the open ticket, without a status.

    The contract does not promise that such an update leaves the hook open, so it is sent only if
    the route is configured to do so.
    """
    hook_info = {
        "message": f"Waiting for a decision (ticket {ticket.key}).",
        "ticketKey": ticket.key,
        "ticketUrl": ticket.url,
        "ticketStatus": ticket.native_status,
        "correlationId": record.id,
    }
    return orjson.dumps({"hookInfo": {key: value for key, value in hook_info.items() if value}})


class MethodMemory(Protocol):
    """Remembers the HTTP method that an instance accepts, until its settings change.

    The store implements it; it is a protocol because `witboost` and `store` are in the same layer.
    """

    async def get_callback_method(self, instance: str) -> str | None:
        """Return the method that succeeded before, or None."""
        ...

    async def set_callback_method(self, instance: str, method: str) -> None:
        """Remember the method that succeeded."""
        ...


class Receiver(Protocol):
    """The receiver of callbacks: a witboost instance, or nobody for a trial."""

    @property
    def name(self) -> str:
        """The name of the destination that is called."""
        ...

    @property
    def reuse_after_final(self) -> bool:
        """True if a URL may be used again after its request has ended."""
        ...

    async def call_back(self, url: str, body: bytes) -> None:
        """Send the body to a request's `respondToUrl`; raise the errors of `Witboost.call_back`."""
        ...


class NullReceiver:
    """The receiver of trials: the callback is stored with the request, but not sent."""

    name = TRIAL
    reuse_after_final = False

    async def call_back(self, url: str, body: bytes) -> None:
        """Do nothing; the body is already stored with the request."""


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
        """Send the body to a request's `respondToUrl`; return when witboost has accepted it.

        The URL is checked again, because the settings may have changed since the hook call.

        Raises:
            NotFoundError: every method was answered with 404 or 405.
            ConflictError: witboost reports that the hook is already closed.
            ConfigurationError: the URL is not allowed, or the credential is refused.
            PermanentError: any other refusal, including redirects.
            TemporaryError: no usable response; `maybe_sent` is true if it may have arrived.
        """
        target = self._checked(url)
        methods = await self._methods()
        for method in methods:
            call = Call(method, target, _JSON, body)
            response = await self._http.send(call, repeatable=False)
            if response.status not in {404, 405}:
                break
        if response.status == 405:  # noqa: PLR2004 - Method Not Allowed (RFC 9110 15.5.6)
            raise NotFoundError(
                f"witboost {self.name} accepts none of {', '.join(methods)} at"
                f" {target.partition('?')[0]}: check the instance's `method`, and that the hook"
                " still exists",
                status=response.status,
            )
        raise_for_status(response, call, system=f"witboost {self.name}")
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
        accepted = await self._memory.get_callback_method(self.name)
        return (accepted,) if accepted else PROBED
