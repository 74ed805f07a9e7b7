"""Receipts of decisions: the request, its ticket, the decision, and the callback to witboost.

A receipt is signed, so its owner can prove the decision to anyone who trusts our public keys, long
after the request has expired. It has only hashes of what people wrote, because it may be passed on.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.domain.models import Record, StoredRequest
from proxy.domain.timestamps import rfc3339
from proxy.errors import InvalidRequestError, NotFoundError
from proxy.security.signing import Signer

RECEIPT: Final = "approval-receipt+jws"
"""The header `typ` of a receipt, which distinguishes it from everything else that is signed."""

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Receipts:
    """Issues receipts."""

    signer: Signer | None
    """Signs them; without it there are none."""
    issuer: str
    """The public URL of this program."""

    def issue(self, entry: StoredRequest) -> str:
        """Return the receipt of a decided request; the same state gives the same receipt.

        Raises:
            InvalidRequestError: nothing is decided yet.
            NotFoundError: no signing key is configured or stored.
        """
        if entry.record.decision is None:
            raise InvalidRequestError(f"state: request {entry.record.id} has no decision yet")
        if self.signer is None:
            raise NotFoundError(
                "There are no receipts, because the settings have no key to sign them: set"
                " signing.keys or encryption.keys"
            )
        return self.signer.sign(
            {"iss": self.issuer, "receipt": _VERSION, **content(entry)}, kind=RECEIPT
        )


def content(entry: StoredRequest) -> Mapping[str, Any]:
    """Return the content of a decided request's receipt, without what it does not have."""
    record, texts = entry.record, entry.details
    return _present(
        correlationId=record.id,
        asked=_present(
            sha256=sha256(entry.payload) if entry.payload else "",
            at=_moment(record.admitted_at),
            instance=record.instance,
            client=record.client,
            requestId=record.request_id,
        ),
        route=record.route,
        ticket=_ticket(record),
        decision=_present(
            decision=record.decision,
            by=record.decided_by,
            at=_moment(record.decided_at),
            evidence=texts.evidence,
            commentSha256=sha256(texts.comment.encode()) if texts.comment else "",
        ),
        fulfilment=record.fulfilment,
        told=_callback(entry),
    )


def _ticket(record: Record) -> Mapping[str, Any]:
    if not record.ticket_id:
        return {}
    return _present(
        system=record.system,
        id=record.ticket_id,
        key=record.ticket_key,
        nativeStatus=record.native_status,
    )


def _callback(entry: StoredRequest) -> Mapping[str, Any]:
    """Return the callback that witboost accepted, if it did."""
    body = entry.details.callback
    if not (entry.record.finished_at and body):
        return {}
    return _present(
        status=orjson.loads(body).get("status"),
        at=_moment(entry.record.finished_at),
        sha256=sha256(body.encode()),
    )


def sha256(text: bytes) -> str:
    """Return the hash that represents a text in a receipt."""
    return hashlib.sha256(text).hexdigest()


def _moment(milliseconds: int) -> str:
    """Return a time in RFC 3339 (UTC); empty for 0."""
    return rfc3339(milliseconds) if milliseconds else ""


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, {})}
