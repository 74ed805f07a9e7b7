"""URLs in the settings that we call: encrypted on the way, and not to where nobody may go."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.net.addresses import EgressPolicy, read_networks
from proxy.settings.model import Settings
from proxy.settings.oauth2 import OAuth2
from proxy.settings.ticket_systems import System
from proxy.settings.witboost import AccessToken, WitboostInstance


def destinations_have_names_of_their_own(settings: Settings) -> Iterator[str]:
    """A pause, its probes and its end are known by name, whichever kind of system it is."""
    for name in settings.witboost.keys() & settings.ticket_systems.keys():
        yield (
            f"witboost.{name}: ticket_systems.{name} has the same name, and a pause of one would be"
            " one of both; rename one of them"
        )


def systems_are_encrypted(settings: Settings) -> Iterator[str]:
    """Credentials of ticket systems travel under TLS, or somebody said that they need not."""
    for name, system in settings.ticket_systems.items():
        if not system.allow_http:
            prefix = f"ticket_systems.{name}"
            yield from _plain(f"{prefix}.base_url", system.base_url, f"{prefix}.allow_http")
            if isinstance(system.auth, OAuth2):
                for key in ("issuer", "token_url", "authorization_url"):
                    if url := getattr(system.auth, key):
                        yield from _plain(f"{prefix}.auth.{key}", url, f"{prefix}.allow_http")
            if (events := system.events) and events.jwks_url:
                key = f"{prefix}.events.jwks_url"
                yield from _plain(key, events.jwks_url, f"{prefix}.allow_http")


def instances_are_encrypted(settings: Settings) -> Iterator[str]:
    """The same for witboost instances."""
    for name, instance in settings.witboost.items():
        if not instance.allow_http:
            prefix = f"witboost.{name}"
            for index, url in enumerate(instance.callback_urls):
                yield from _plain(f"{prefix}.callback_urls.{index}", url, f"{prefix}.allow_http")
            if isinstance(instance.credential, AccessToken):
                url = instance.credential.url
                yield from _plain(f"{prefix}.credential.url", url, f"{prefix}.allow_http")


def _plain(key: str, url: str, switch: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        yield (
            f"{key}: http would send credentials readable by everybody on the way; "
            f"use https, or accept that with {switch}: true"
        )


def literal_addresses_are_opened(settings: Settings) -> Iterator[str]:
    """An address in a URL is known now, not only when it is called."""
    for call in called(settings):
        host = urlsplit(call.url).hostname or ""
        host = "127.0.0.1" if _is_loopback(host) and not _is_address(host) else host
        if _is_address(host) and (objection := call.reach.refusal_reason(host)):
            yield f"{call.key}: {objection}"


def nothing_leads_to_ourselves(settings: Settings) -> Iterator[str]:
    """A call to this program, with a credential of its own, is never what was meant.

    Others may stand behind the same host, under paths that are none of ours.
    """
    home = settings.public_url.lower()
    ours = tuple(f"{home}{path}" for path in ("/approval-requests", "/ticket-events"))
    for call in called(settings):
        url = call.url.lower().rstrip("/")
        if url == home or url.startswith(ours):
            yield f"{call.key}: is this program itself, which public_url names; correct one of them"


@dataclass(frozen=True, slots=True)
class Called:
    """A URL that we call: its key, where it may be, and whether we go there past the proxy."""

    key: str
    url: str
    reach: EgressPolicy
    direct: bool


def networks_of(whole: System | WitboostInstance, part: Sequence[str] | None) -> Sequence[str]:
    """Return which networks are open for a part that may be elsewhere, such as a token endpoint.

    None means that it has none of its own, and is where the whole is.
    """
    return whole.networks if part is None else part


def called(settings: Settings) -> Iterator[Called]:
    """Yield every URL that is called and stands in the settings."""
    for key, url, networks, direct in _called(settings):
        section, _, name = key.partition("_urls")[0].rpartition(".")
        opened_by = f"{section}.{'jwks_networks' if name == 'jwks_url' else 'networks'}"
        reach = EgressPolicy(read_networks(networks), opened_by, settings.outbound.loopback)
        yield Called(key, url, reach, direct)


def _called(settings: Settings) -> Iterator[tuple[str, str, Sequence[str], bool]]:
    for name, system in settings.ticket_systems.items():
        prefix = f"ticket_systems.{name}"
        yield f"{prefix}.base_url", system.base_url, system.networks, system.direct
        if isinstance(auth := system.auth, OAuth2):
            networks = networks_of(system, auth.networks)
            for key in ("issuer", "token_url"):
                if url := getattr(auth, key):
                    yield f"{prefix}.auth.{key}", url, networks, system.direct
        if (events := system.events) and events.jwks_url:
            networks = networks_of(system, events.jwks_networks)
            yield f"{prefix}.events.jwks_url", events.jwks_url, networks, system.direct
    for name, instance in settings.witboost.items():
        prefix = f"witboost.{name}"
        for index, url in enumerate(instance.callback_urls):
            yield f"{prefix}.callback_urls.{index}", url, instance.networks, instance.direct
        if isinstance(credential := instance.credential, AccessToken):
            networks = networks_of(instance, credential.networks)
            yield f"{prefix}.credential.url", credential.url, networks, instance.direct


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
