"""Settings that are sound one by one and contradict each other."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Final

from pydantic import ValidationError

from proxy.domain.durations import Milliseconds, format_duration
from proxy.domain.routing import UNROUTABLE
from proxy.domain.schedule import SECOND
from proxy.settings.clients import Client
from proxy.settings.error_text import Problem, describe
from proxy.settings.model import Settings
from proxy.settings.oauth2 import OAuth2
from proxy.settings.ticket_systems import overridden
from proxy.settings.url_rules import (
    destinations_have_names_of_their_own,
    instances_are_encrypted,
    literal_addresses_are_opened,
    nothing_leads_to_ourselves,
    systems_are_encrypted,
)

_FIXED: Final = frozenset({"kind", "base_url", "concurrency", "deadline", "events"})
"""Keys that a route cannot override, because all routes share connections and events."""


def cross_check(settings: Settings, broken: Collection[str] = ()) -> list[Problem]:
    """Return every contradiction, except by rules that need one of the broken sections.

    A rule yields a problem, or a sentence that begins with the key that is to be changed.
    """
    return [
        Problem.parse(problem) if isinstance(problem, str) else problem
        for needed, rule in _RULES
        if not set(needed) & set(broken)
        for problem in rule(settings)
    ]


def _lease_covers_every_step(settings: Settings) -> Iterator[str]:
    """A step must end before its lease does, or a second worker would do it again."""
    worker = settings.worker
    for key, deadline in _deadlines(settings):
        if worker.lease <= deadline + worker.margin:
            yield (
                f"worker.lease: {format_duration(worker.lease)} is too short: it must exceed "
                f"{key} ({format_duration(deadline)}) and worker.margin "
                f"({format_duration(worker.margin)}) together; raise the lease or lower"
                " that deadline"
            )


def _deadlines(settings: Settings) -> Iterator[tuple[str, Milliseconds]]:
    """Yield what one call may take at most: a token that it needs first is asked for within it."""
    for name, system in settings.ticket_systems.items():
        yield f"ticket_systems.{name}.deadline", system.deadline
    for name, instance in settings.witboost.items():
        yield f"witboost.{name}.callback.deadline", instance.callback.deadline


def _processes_have_work(settings: Settings) -> Iterator[str]:
    """A limit that the worker processes share must be enough for each of them."""
    processes = settings.worker.processes
    for key, shared in _shared(settings):
        if shared < processes:
            yield f"worker.processes: {processes} cannot share out {key}, which is {shared}"


def _shared(settings: Settings) -> Iterator[tuple[str, int]]:
    """Yield the limits that the worker processes share."""
    yield "worker.concurrency", settings.worker.concurrency
    for name, system in settings.ticket_systems.items():
        yield f"ticket_systems.{name}.concurrency", system.concurrency
    for name, instance in settings.witboost.items():
        yield f"witboost.{name}.callback.concurrency", instance.callback.concurrency


def _systems_settle(settings: Settings) -> Iterator[str]:
    """No system shows every ticket at once; that a deadline is longer than 0, its type says."""
    for name, system in settings.ticket_systems.items():
        if system.settle <= 0:
            yield f"ticket_systems.{name}.settle: must be longer than 0"


def _routes_can_be_told_apart(settings: Settings) -> Iterator[str]:
    for name, times in Counter(route.name for route in settings.routes).items():
        if times > 1:
            yield f"routes: {times} routes are named {name!r}; names must differ"
    for index, route in enumerate(settings.routes):
        if route.name == UNROUTABLE:
            yield f"routes.{index}.name: {UNROUTABLE!r} is the name of what no route takes"
    for index, route in enumerate(settings.routes[:-1]):
        if route.when is None:
            yield (
                f"routes.{index}.when: is missing, so this route always applies and the "
                f"{len(settings.routes) - index - 1} after it never do; give it a condition, or "
                "put it last"
            )


def _routes_decide_or_ask(settings: Settings) -> Iterator[str]:
    """A route either opens tickets or decides at once, and says why where it says no."""
    for index, route in enumerate(settings.routes):
        key = f"routes.{index}"
        if (route.system is None) == (route.decide is None):
            yield f"{key}: needs one of system (who decides) and decide (what is decided at once)"
        elif route.decide in {"reject", "hold"} and not route.reason.strip():
            yield f"{key}.reason: is required with decide: {route.decide}; people will ask why"
        elif route.decide and route.callback_on == "fulfilment":
            yield f"{key}.callback_on: fulfilment is read from a ticket, and decide opens none"
        elif route.decide and route.overrides:
            yield f"{key}.overrides: changes a ticket system, and decide asks none"


def _overrides_are_sound(settings: Settings) -> Iterator[str | Problem]:
    for index, route in enumerate(settings.routes):
        system = settings.ticket_systems.get(route.system or "")
        key = f"routes.{index}.overrides"
        for name in sorted(_FIXED & set(route.overrides)):
            yield f"{key}.{name}: belongs to the ticket system as a whole; set it there"
        if system is None or _FIXED & set(route.overrides):
            continue
        try:
            overridden(system.declaration, route.overrides)
        except ValidationError as error:
            within = ("routes", str(index), "overrides")
            yield from describe(error, type(system.declaration), route.overrides, within=within)


def _routes_reach_their_end(settings: Settings) -> Iterator[str]:
    for index, route in enumerate(settings.routes):
        system = settings.ticket_systems.get(route.system or "")
        if system is None:
            continue
        if route.callback_on == "fulfilment" and not system.fulfilment:
            yield (
                f"routes.{index}.callback_on: fulfilment is never seen, because "
                f"ticket_systems.{route.system}.fulfilment maps no status to it; "
                "map one, or call back on decision"
            )
        if route.decision_deadline <= system.deadline + system.settle:
            yield (
                f"routes.{index}.decision_deadline: {format_duration(route.decision_deadline)} is"
                f" too short: it must exceed deadline and settle of ticket_systems.{route.system}"
                f" ({format_duration(system.deadline + system.settle)}), or a create in doubt could"
                " not be looked up before it passes"
            )


def _guards_can_pass(settings: Settings) -> Iterator[str]:
    for index, route in enumerate(settings.routes):
        system = settings.ticket_systems.get(route.system or "")
        if system and route.guards.unknown_approver == "hold" and not system.names_deciders:
            yield (
                f"routes.{index}.guards.unknown_approver: would hold every approval, because "
                f"ticket_systems.{route.system}.ticket does not say where decided_by or deciders "
                "stand; map one of them, or allow"
            )


def _polls_slow_down(settings: Settings) -> Iterator[str]:
    if settings.worker.changes_every < SECOND:
        yield "worker.changes_every: must be at least 1s, or listing would be all that is done"
    for index, route in enumerate(settings.routes):
        if route.poll.first > route.poll.slowest:
            yield (
                f"routes.{index}.poll.first: {format_duration(route.poll.first)} is longer than "
                f"poll.slowest ({format_duration(route.poll.slowest)}); reads start fast and slow"
                " down"
            )


def _creates_outlive_doubt(settings: Settings) -> Iterator[str]:
    for name, system in settings.ticket_systems.items():
        if settings.retries.create <= system.deadline + system.settle:
            yield (
                f"retries.create: {format_duration(settings.retries.create)} is too short: it must"
                f" exceed deadline and settle of ticket_systems.{name}"
                f" ({format_duration(system.deadline + system.settle)}), after which a create is"
                " repeated"
            )


def _audit_outlives_requests(settings: Settings) -> Iterator[str]:
    audit, store = settings.audit.retention, settings.store.retention
    if settings.audit.to == "folder" and audit < store:
        yield (
            f"audit.retention: {format_duration(audit)} is shorter than store.retention"
            f" ({format_duration(store)}): what the store loses could not be written back;"
            " lengthen it"
        )


def _slows_before_refusing(settings: Settings) -> Iterator[str]:
    limits = settings.limits
    if limits.slow_from > limits.backlog:
        yield (
            f"limits.slow_from: {limits.slow_from} is above limits.backlog ({limits.backlog}), so "
            "calls would be refused before they are slowed; lower it"
        )


def _refresh_tokens_can_be_kept(settings: Settings) -> Iterator[str]:
    if settings.embedded or settings.encryption.keys:
        return
    for name, system in settings.ticket_systems.items():
        if isinstance(system.auth, OAuth2) and system.auth.grant == "refresh_token":
            yield (
                f"ticket_systems.{name}.auth.grant: a refresh token must be kept, and with "
                "store.redis_url nothing is kept without a key to encrypt it with; make one with "
                "`approval-proxy keys new --encryption`, and name it under encryption.keys"
            )


def _indices_are_keyed(settings: Settings) -> Iterator[str]:
    encryption = settings.encryption
    if encryption.index_key is not None and not encryption.keys:
        yield "encryption.index_key: is of no use without encryption.keys; name a key there as well"
    if encryption.keys and encryption.index_key is None and not settings.embedded:
        yield (
            "encryption.index_key: is required with encryption.keys and store.redis_url: requests "
            "are found by it, so it is made once, with `approval-proxy keys new --encryption`, and "
            "stays"
        )


def _somebody_may_call(settings: Settings) -> Iterator[str]:
    for name, instance in settings.witboost.items():
        if instance.authentication == "keys" and not instance.clients:
            advice = "make a key with `approval-proxy keys new`, or set authentication: off"
            yield f"witboost.{name}.clients: authentication by keys needs a client: {advice}"


def _listeners_differ(settings: Settings) -> Iterator[str]:
    listen = settings.listen
    taken = {(listen.host, listen.port): "listen.port"}
    for name, listener in (("events", listen.events), ("operators", listen.operators)):
        if listener is not None and listener.port:
            first = taken.setdefault((listener.host, listener.port), f"listen.{name}.port")
            if first != f"listen.{name}.port":
                yield f"listen.{name}.port: {first} is the same; what listens apart needs its own"


def _certificates_come_through_proxies(settings: Settings) -> Iterator[str]:
    """Anybody else could write the header as well."""
    for name, system in settings.ticket_systems.items():
        certified = system.events and system.events.auth == "client_certificate"
        if certified and not settings.listen.trusted_proxies:
            yield (
                f"ticket_systems.{name}.events.auth: client_certificate believes a header, so name "
                "the proxy that verifies certificates and writes it in listen.trusted_proxies"
            )


def _keys_name_one_client(settings: Settings) -> Iterator[str]:
    """A key tells who calls; a key of two clients would not."""
    owners: dict[str, str] = {}
    for owner, client in _clients(settings):
        for index, key in enumerate(client.keys):
            first = owners.setdefault(key.hash, owner)
            if first != owner:
                yield f"{owner}.keys.{index}: {first} has the same key; give each client its own"


def _clients(settings: Settings) -> Iterator[tuple[str, Client]]:
    for instance, witboost in settings.witboost.items():
        for name, client in witboost.clients.items():
            yield f"witboost.{instance}.clients.{name}", client
    for name, client in settings.operators.clients.items():
        yield f"operators.clients.{name}", client


_RULES: Final[tuple[tuple[tuple[str, ...], Callable[[Settings], Iterator[str | Problem]]], ...]] = (
    (("worker", "ticket_systems", "witboost"), _lease_covers_every_step),
    (("worker", "ticket_systems", "witboost"), _processes_have_work),
    (("ticket_systems",), _systems_settle),
    (("routes",), _routes_can_be_told_apart),
    (("routes",), _routes_decide_or_ask),
    (("routes", "ticket_systems"), _overrides_are_sound),
    (("routes", "ticket_systems"), _routes_reach_their_end),
    (("routes", "ticket_systems"), _guards_can_pass),
    (("routes", "worker"), _polls_slow_down),
    (("retries", "ticket_systems"), _creates_outlive_doubt),
    (("audit", "store"), _audit_outlives_requests),
    (("limits",), _slows_before_refusing),
    (("ticket_systems", "witboost"), destinations_have_names_of_their_own),
    (("ticket_systems",), systems_are_encrypted),
    (("witboost",), instances_are_encrypted),
    (("outbound", "ticket_systems", "witboost"), literal_addresses_are_opened),
    (("public_url", "outbound", "ticket_systems", "witboost"), nothing_leads_to_ourselves),
    (("store", "encryption", "ticket_systems"), _refresh_tokens_can_be_kept),
    (("store", "encryption"), _indices_are_keyed),
    (("witboost",), _somebody_may_call),
    (("listen",), _listeners_differ),
    (("listen", "ticket_systems"), _certificates_come_through_proxies),
    (("witboost", "operators"), _keys_name_one_client),
)
