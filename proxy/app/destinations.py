"""The systems that we call, from the settings: ticket systems, witboost instances, credentials."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from proxy.app.connection_options import connection_options
from proxy.app.processes.share import SINGLE, WorkerShare
from proxy.app.token_sources import TokenSources, certificate
from proxy.domain.clock import Clock
from proxy.domain.route import Guards, PollSchedule, Route
from proxy.domain.routing import UNROUTABLE, Rule
from proxy.domain.schedule import Jitter
from proxy.engine.routes import Routes
from proxy.errors import ConfigurationError
from proxy.net.addresses import read_networks
from proxy.net.urls import CallbackPrefix
from proxy.oauth2.shared_tokens import TokenIdentity
from proxy.oauth2.token_source import Fetch
from proxy.outbound.client import EgressProxy, Outbound
from proxy.outbound.credentials import Credential, NoCredential, StaticHeader, WithHeaders
from proxy.outbound.destination import Destination, Observe
from proxy.settings import Settings
from proxy.settings.model import Route as RouteSettings
from proxy.settings.oauth2 import OAuth2
from proxy.settings.ticket_systems import FixedHeader, System, overridden
from proxy.settings.ticket_systems import NoCredential as NoTicketCredential
from proxy.settings.witboost import (
    AccessToken,
    NoCallbackCredential,
    SharedSecret,
    StaticBearer,
    WitboostInstance,
)
from proxy.store.requests import RequestStore
from proxy.store.routes import CallbackMethods, RouteStore
from proxy.store.tokens import RedisTokens
from proxy.tickets.declaring.base import Declaration
from proxy.tickets.declaring.expressions import compile_path
from proxy.tickets.events.jwks import PublishedKeys
from proxy.tickets.kinds import open_system
from proxy.tickets.port import TicketSystem
from proxy.witboost import credentials
from proxy.witboost.callback import Witboost

TICKET_ANSWER_LIMIT: Final = 8 * 1024 * 1024
"""The largest response of a ticket system in bytes: a hundred tickets with long descriptions."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """Creates the ticket systems, witboost instances and routes of the settings; calls nothing."""

    settings: Settings
    outbound: Outbound
    clock: Clock
    sources: TokenSources
    share: WorkerShare = SINGLE
    _destinations: dict[str, Destination] = field(default_factory=dict)
    published_keys: dict[str, PublishedKeys] = field(default_factory=dict)
    """The keys of the opened systems that publish the keys of their events."""

    def systems(self) -> dict[str, TicketSystem]:
        """Return every ticket system with its present settings, for events and checks."""
        return {
            name: self.open(name, system.declaration)
            for name, system in self.settings.ticket_systems.items()
        }

    def open(self, name: str, declaration: Declaration | Mapping[str, Any]) -> TicketSystem:
        """Return a ticket system with this declaration and the present origins and credentials.

        Raises:
            ConfigurationError: the settings no longer have the system.
        """
        system = self.settings.ticket_systems.get(name)
        if system is None:
            raise ConfigurationError(f"ticket_systems.{name} is not in the settings any more")
        if name not in self._destinations:
            self._destinations[name] = self._ticket_destination(name, system)
        return open_system(
            name=name,
            declaration=declaration,
            http=self._destinations[name],
            event_secrets=keys.now if (keys := self._keys_of(name)) else system.event_secrets,
        )

    def _keys_of(self, name: str) -> PublishedKeys | None:
        """Return the published keys that sign a ticket system's events, if it publishes any."""
        system = self.settings.ticket_systems[name]
        if name not in self.published_keys and (events := system.events) and events.jwks_url:
            http = self.outbound.destination(
                f"{name}: keys",
                origins=[events.jwks_url],
                deadline=system.deadline,
                concurrency=1,
                credential=NoCredential(),
                **connection_options(
                    system, f"ticket_systems.{name}.events.jwks_networks", events.jwks_networks
                ),
            )
            keys = PublishedKeys(http, events.jwks_url, events, self.clock)
            self.published_keys[name] = keys
        return self.published_keys.get(name)

    def instances(self, store: RequestStore) -> dict[str, Witboost]:
        """Return every witboost instance; `store` has the callback methods that they accepted."""
        instances = self.settings.witboost.items()
        return {name: self._instance(name, tree, store) for name, tree in instances}

    def routes(self, store: RequestStore) -> Routes:
        """Return the routes of requests; `store` has the routes of earlier requests."""
        return Routes(
            rules=self.rules(),
            otherwise=self.unroutable(),
            store=RouteStore(store),
            open_system=lambda route: self.open(route.system, route.declaration),
        )

    def rules(self) -> list[Rule]:
        """Return the routes of new requests in order, each with its condition."""
        return [
            Rule(self._route(rule), compile_path(rule.when) if rule.when else None, rule.when or "")
            for rule in self.settings.routes
        ]

    def unroutable(self) -> Route:
        """Return the route of requests that match no rule: they are held for a person."""
        reason = "No route applies to this request: add one, then `requests reroute` it"
        return self._route(RouteSettings(name=UNROUTABLE, decide="hold", reason=reason))

    def _route(self, settings: RouteSettings) -> Route:
        fields = settings.model_dump(exclude={"when", "overrides"}, exclude_none=True)
        poll, guards = fields.pop("poll"), fields.pop("guards")
        return Route(
            **{"system": "", **fields},
            poll=PollSchedule(**poll),
            guards=Guards(**guards),
            declaration=self._declaration(settings) if settings.system else {},
        )

    def _declaration(self, route: RouteSettings) -> Mapping[str, Any]:
        declared = self.settings.ticket_systems[route.system or ""].declaration
        return overridden(declared, route.overrides).model_dump(mode="json")

    def _ticket_destination(self, name: str, system: System) -> Destination:
        return self.outbound.destination(
            name,
            origins=[system.base_url],
            deadline=system.deadline,
            concurrency=self.share.portion(system.concurrency),
            credential=self._ticket_credential(name, system),
            **connection_options(system, f"ticket_systems.{name}.networks"),
            client_certificate=certificate(system.auth)
            if isinstance(system.auth, OAuth2)
            else None,
            answer_limit=TICKET_ANSWER_LIMIT,
        )

    def _ticket_credential(self, name: str, system: System) -> Credential:
        proof = self._proof(name, system)
        secret_headers = {name: secret.reveal for name, secret in system.secret_headers.items()}
        return WithHeaders(proof, secret_headers) if secret_headers else proof

    def _proof(self, name: str, system: System) -> Credential:
        auth = system.auth
        match auth:
            case OAuth2():
                return self.sources.for_system(name, system, auth)
            case FixedHeader():
                return StaticHeader(auth.name, auth.value.reveal)
            case NoTicketCredential():
                return NoCredential()
        assert_never(auth)

    def _instance(self, name: str, instance: WitboostInstance, store: RequestStore) -> Witboost:
        callback = instance.callback
        fingerprint = hashlib.sha256(repr((instance.callback_urls, callback)).encode())
        http = self.outbound.destination(
            name,
            origins=instance.callback_urls,
            deadline=callback.deadline,
            concurrency=self.share.portion(callback.concurrency),
            credential=self._callback_credential(name, instance),
            renew_on=frozenset({401, 403}),
            **connection_options(instance, f"witboost.{name}.networks"),
        )
        return Witboost(
            name=name,
            http=http,
            method=callback.method,
            memory=CallbackMethods(store, fingerprint.hexdigest()[:16]),
            prefixes=prefixes(instance),
            reuse_after_final=instance.reuse_after_final,
        )

    def exchange(self, name: str, instance: WitboostInstance, credential: AccessToken) -> Fetch:
        """Return the function that exchanges an instance's access token for a short-lived one."""
        return credentials.AccessTokenExchange(
            http=self.outbound.destination(
                f"{name}: token",
                origins=[credential.url],
                deadline=instance.callback.deadline,
                concurrency=1,
                credential=NoCredential(),
                **connection_options(
                    instance, f"witboost.{name}.credential.networks", credential.networks
                ),
            ),
            url=credential.url,
            access_token=credential.access_token.reveal,
            clock=self.clock,
            duration=credential.duration,
            scope=credential.scope or "",
        )

    def _callback_credential(self, name: str, instance: WitboostInstance) -> Credential:
        credential = instance.credential
        match credential:
            case AccessToken():
                return self.sources.shared_source(
                    f"{name}: token",
                    self.exchange(name, instance, credential),
                    _identity(instance, credential),
                    instance.callback.deadline,
                )
            case SharedSecret():
                signed = credentials.SharedSecret(credential.secret.reveal, clock=self.clock)
                return self.sources.signing_source(f"{name}: token", signed)
            case StaticBearer():
                token = credential.token
                return StaticHeader("Authorization", lambda: f"Bearer {token.reveal()}")
            case NoCallbackCredential():
                return NoCredential()
        assert_never(credential)


def _identity(instance: WitboostInstance, credential: AccessToken) -> TokenIdentity:
    return TokenIdentity(
        issuer=credential.url,
        client_id=hashlib.sha256(credential.access_token.reveal().encode()).hexdigest(),
        grant="access_token",
        subject=str(credential.duration),
        scope=credential.scope or "",
        origins=tuple(instance.callback_urls),
    )


def prefixes(instance: WitboostInstance) -> Sequence[CallbackPrefix]:
    """Return the URL prefixes that an instance may be called back at."""
    return [CallbackPrefix.parse(url) for url in instance.callback_urls]


async def open_destinations(
    settings: Settings,
    stack: AsyncExitStack,
    tokens: RedisTokens | None,
    *,
    clock: Clock,
    dice: Jitter = random.random,
    observe: Observe = lambda _name, _outcome, _seconds: None,
    share: WorkerShare = SINGLE,
) -> Destinations:
    """Return what calls other systems, through one session that the stack closes.

    `tokens` is where processes share tokens; without it, this one has its own. A `part` makes its
    share of the calls that a destination gets at once.
    """
    outbound_settings = settings.outbound
    proxy = None
    if through := outbound_settings.proxy:
        proxy = EgressProxy(through.url.reveal(), read_networks(through.networks))
    outbound = await stack.enter_async_context(
        Outbound(loopback=outbound_settings.loopback, proxy=proxy, dice=dice, observe=observe)
    )
    sources = TokenSources(outbound=outbound, clock=clock, dice=dice, tokens=tokens)
    return Destinations(settings, outbound, clock, sources, share)
