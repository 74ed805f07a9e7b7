"""The connection to a system, one step at a time: its name, its port, its certificate."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from proxy.domain.schedule import DAY
from proxy.net.addresses import EgressPolicy
from proxy.outbound.responses import quote

Result = Literal["ok", "failed", "skipped"]

_SOON: Final = 14 * DAY
_PORTS: Final = {"http": 80, "https": 443}
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step; `cause` names the cause of a failure in a word."""

    name: str
    result: Result
    message: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """The target of a URL; `address` is an allowed IP address of the host, once it is resolved."""

    scheme: str
    host: str
    port: int
    address: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the target of a URL, which has been validated with the settings."""
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])


async def connect(
    url: str, tls: ssl.SSLContext | None, *, egress: EgressPolicy, now: int, limit: int
) -> list[Step]:
    """Connect to a URL, and return the steps up to the first that failed.

    `tls` is None if a proxy makes the handshake; `egress` decides which addresses are connected
    to; `now` is the wall clock, `limit` the longest time of one step, both in milliseconds.
    Nothing is sent except the TLS handshake, so this cannot disclose a secret.
    """
    target = Address.of(url)
    step, addresses = await _resolve(target, limit)
    steps = [step]
    refusals = {address: egress.refusal_reason(address.partition("%")[0]) for address in addresses}
    if steps[-1].result == "ok":
        allowed = [address for address, reason in refusals.items() if not reason]
        target = replace(target, address=allowed[0] if allowed else "")
        if not allowed:
            reasons = "; ".join(dict.fromkeys(refusals.values()))
            steps.append(Step("address", "failed", reasons, "address"))
    if steps[-1].result == "ok":
        steps.append(await _open_port(target, limit))
    if steps[-1].result == "ok" and target.scheme == "https" and tls is not None:
        steps.append(await _handshake(target, tls, now, limit))
    return steps


async def _resolve(target: Address, limit: int) -> tuple[Step, list[str]]:
    look_up = asyncio.get_running_loop().getaddrinfo
    try:
        async with asyncio.timeout(limit / 1_000):
            results = await look_up(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        reason = f"no answer for {target.host} within {limit} ms: check the DNS of this machine"
        return Step("DNS", "failed", reason, "DNS"), []
    except (OSError, UnicodeError) as error:
        unknown = isinstance(error, OSError) and error.errno in _NO_SUCH_NAME
        cause = "no such name" if unknown else getattr(error, "strerror", None) or str(error)
        reason = (
            f"{target.host}: {cause}: check the host in the settings, and the DNS of this machine"
        )
        return Step("DNS", "failed", reason, "DNS"), []
    addresses = list(dict.fromkeys(str(result[4][0]) for result in results))
    if addresses == [target.host]:
        return Step("DNS", "ok", f"{target.host} is an address and needs no look-up"), addresses
    return Step("DNS", "ok", f"{target.host} is {', '.join(addresses)}"), addresses


async def _open_port(target: Address, limit: int) -> Step:
    endpoint = f"{target.host}:{target.port}"
    try:
        async with _opened(target, limit):
            return Step("connection", "ok", f"{endpoint} accepts connections")
    except TimeoutError:
        reason = (
            f"{endpoint} does not answer within {limit} ms: check firewalls, routes and the port"
        )
    except ConnectionRefusedError:
        reason = f"{endpoint} refuses connections: check the port, and that the system is up"
    except OSError as error:
        reason = (
            f"{endpoint}: {error.strerror or error}: check the network, and that the system is up"
        )
    return Step("connection", "failed", reason, "connection")


async def _handshake(target: Address, tls: ssl.SSLContext, now: int, limit: int) -> Step:
    endpoint = f"{target.host}:{target.port}"
    try:
        async with _opened(target, limit, ssl=tls, server_hostname=target.host) as writer:
            return Step("TLS", "ok", _certificate(writer, now))
    except ssl.SSLCertVerificationError as error:
        reason = _distrust(endpoint, error)
    except ssl.SSLError as error:
        cause = (error.reason or "handshake failed").lower().replace("_", " ")
        reason = f"{endpoint}: {cause}: check that it speaks TLS 1.2 or newer"
    except TimeoutError:
        reason = f"{endpoint} does not finish a TLS handshake within {limit} ms: is it a TLS port?"
    except OSError as error:
        cause = error.strerror or "the connection was closed"
        reason = f"{endpoint}: {cause} during the TLS handshake: check that this port speaks TLS"
    return Step("TLS", "failed", reason, "TLS")


def _distrust(endpoint: str, error: ssl.SSLCertVerificationError) -> str:
    cause = error.verify_message.rstrip(".")
    advice = {
        9: "check the clock of this machine",
        10: "have it renewed",
        62: "use a name that the certificate has, or have it issued for this one",
        64: "use a name that the certificate has, or have it issued for this address",
    }.get(error.verify_code, "set `ca_file` to the authority that issued it")
    return f"the certificate of {endpoint} is not trusted ({cause}): {advice}"


def _certificate(writer: asyncio.StreamWriter, now: int) -> str:
    """Return the issuer and the end of the certificate of a verified connection."""
    version = writer.get_extra_info("ssl_object").version()
    certificate = writer.get_extra_info("peercert") or {}
    issuer = ", ".join(_names(certificate.get("issuer", ()))) or "an authority without a name"
    ends = int(ssl.cert_time_to_seconds(certificate["notAfter"])) * 1_000
    return f"{version}, certificate by {quote(issuer)}, {_until(ends, now)}"


def _names(issuer: Any) -> Iterator[str]:
    """Yield the organisation and the common name of a distinguished name, if it has them."""
    fields = {key: text for part in issuer for key, text in part}
    return (fields[key] for key in ("organizationName", "commonName") if key in fields)


def _until(ends: int, now: int) -> str:
    day = datetime.fromtimestamp(ends / 1_000, UTC).date()
    left = f"{(ends - now) // DAY} days left"
    return f"until {day} ({left}{': renew it now' if ends - now < _SOON else ''})"


@contextlib.asynccontextmanager
async def _opened(target: Address, limit: int, **tls: Any) -> AsyncIterator[asyncio.StreamWriter]:
    async with asyncio.timeout(limit / 1_000):
        _, writer = await asyncio.open_connection(target.address, target.port, **tls)
    try:
        yield writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(limit / 1_000):
                await writer.wait_closed()
