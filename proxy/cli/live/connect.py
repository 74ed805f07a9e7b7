"""The way to a system, one step at a time: its name, its port, its certificate."""

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
from proxy.outbound.responses import one_line

Result = Literal["ok", "failed", "skipped"]

_SOON: Final = 14 * DAY
_PORTS: Final = {"http": 80, "https": 443}
_NO_SUCH_NAME: Final = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


@dataclass(frozen=True, slots=True)
class Step:
    """What one step found; `wrong` names the cause of a failure in a word."""

    name: str
    result: Result
    said: str
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads; `address` is what the host is, once that is known and allowed."""

    scheme: str
    host: str
    port: int
    address: str = ""

    @classmethod
    def of(cls, url: str) -> Self:
        """Return it; the URL has been validated with the settings."""
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])


async def reach(
    url: str, tls: ssl.SSLContext | None, *, may: EgressPolicy, now: int, within: int
) -> list[Step]:
    """Return the steps to where the URL leads, up to the first that failed.

    `tls` is None where the handshake is not ours to make, at a proxy; `may` says which addresses
    are connected to, `now` is the wall clock, `within` what one step may
    take, both in milliseconds. Nothing is sent but the handshake of TLS, so nobody learns a secret
    from this.
    """
    place = Address.of(url)
    named, addresses = await _named(place, within)
    steps = [named]
    objections = {address: may.refusal_reason(address.partition("%")[0]) for address in addresses}
    if steps[-1].result == "ok":
        allowed = [address for address, objection in objections.items() if not objection]
        place = replace(place, address=allowed[0] if allowed else "")
        if not allowed:
            said = "; ".join(dict.fromkeys(objections.values()))
            steps.append(Step("address", "failed", said, "address"))
    if steps[-1].result == "ok":
        steps.append(await _connected(place, within))
    if steps[-1].result == "ok" and place.scheme == "https" and tls is not None:
        steps.append(await _trusted(place, tls, now, within))
    return steps


async def _named(place: Address, within: int) -> tuple[Step, list[str]]:
    look_up = asyncio.get_running_loop().getaddrinfo
    try:
        async with asyncio.timeout(within / 1_000):
            found = await look_up(place.host, place.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        why = f"no answer about {place.host} within {within} ms: check the DNS of this machine"
        return Step("DNS", "failed", why, "DNS"), []
    except (OSError, UnicodeError) as error:
        known = isinstance(error, OSError) and error.errno in _NO_SUCH_NAME
        said = "there is no such name" if known else getattr(error, "strerror", None) or str(error)
        why = f"{place.host}: {said}: check the host in the settings, and the DNS of this machine"
        return Step("DNS", "failed", why, "DNS"), []
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if addresses == [place.host]:
        return Step("DNS", "ok", f"{place.host} is an address, no name to look up"), addresses
    return Step("DNS", "ok", f"{place.host} is {', '.join(addresses)}"), addresses


async def _connected(place: Address, within: int) -> Step:
    where = f"{place.host}:{place.port}"
    try:
        async with _opened(place, within):
            return Step("connection", "ok", f"{where} takes connections")
    except TimeoutError:
        why = f"{where} does not answer within {within} ms: check firewalls, routes and the port"
    except ConnectionRefusedError:
        why = f"{where} refuses connections: check the port, and that the system is up"
    except OSError as error:
        why = f"{where}: {error.strerror or error}: check the network, and that the system is up"
    return Step("connection", "failed", why, "connection")


async def _trusted(place: Address, tls: ssl.SSLContext, now: int, within: int) -> Step:
    where = f"{place.host}:{place.port}"
    try:
        async with _opened(place, within, ssl=tls, server_hostname=place.host) as writer:
            return Step("TLS", "ok", _certificate(writer, now))
    except ssl.SSLCertVerificationError as error:
        why = _distrust(where, error)
    except ssl.SSLError as error:
        reason = (error.reason or "handshake failed").lower().replace("_", " ")
        why = f"{where}: {reason}: check that it speaks TLS 1.2 or newer"
    except TimeoutError:
        why = f"{where} does not finish a TLS handshake within {within} ms: is it a TLS port?"
    except OSError as error:
        said = error.strerror or "the connection was closed"
        why = f"{where}: {said} during the TLS handshake: check that this port speaks TLS"
    return Step("TLS", "failed", why, "TLS")


def _distrust(where: str, error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message.rstrip(".")
    advice = {
        9: "check the clock of this machine",
        10: "have it renewed",
        62: "use a name that the certificate has, or have it issued for this one",
        64: "use a name that the certificate has, or have it issued for this address",
    }.get(error.verify_code, "set `ca_file` to the authority that issued it")
    return f"the certificate of {where} is not trusted ({said}): {advice}"


def _certificate(writer: asyncio.StreamWriter, now: int) -> str:
    """Return who issued the certificate of a verified connection, and for how long it holds."""
    version = writer.get_extra_info("ssl_object").version()
    certificate = writer.get_extra_info("peercert") or {}
    issuer = ", ".join(_names(certificate.get("issuer", ()))) or "an authority without a name"
    ends = int(ssl.cert_time_to_seconds(certificate["notAfter"])) * 1_000
    return f"{version}, certificate by {one_line(issuer)}, {_until(ends, now)}"


def _names(issuer: Any) -> Iterator[str]:
    """Yield organisation and common name of a distinguished name, whichever there are."""
    named = {key: text for part in issuer for key, text in part}
    return (named[key] for key in ("organizationName", "commonName") if key in named)


def _until(ends: int, now: int) -> str:
    day = datetime.fromtimestamp(ends / 1_000, UTC).date()
    left = f"{(ends - now) // DAY} days left"
    return f"until {day} ({left}{': renew it now' if ends - now < _SOON else ''})"


@contextlib.asynccontextmanager
async def _opened(place: Address, within: int, **tls: Any) -> AsyncIterator[asyncio.StreamWriter]:
    async with asyncio.timeout(within / 1_000):
        _, writer = await asyncio.open_connection(place.address, place.port, **tls)
    try:
        yield writer
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(within / 1_000):
                await writer.wait_closed()
