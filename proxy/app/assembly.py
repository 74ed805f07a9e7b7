"""Opens a program: one thing after the other, so that it is closed in reverse order."""

import functools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from proxy.app.destinations import open_destinations
from proxy.app.open_store import (
    open_audit_keys,
    open_store,
    open_tokens,
    refuse_to_drop,
    resume_removed_destinations,
    store_url,
)
from proxy.app.processes.share import SINGLE, WorkerShare
from proxy.app.processes.supervisor import WorkerSupervisor
from proxy.app.runtime import Runtime
from proxy.change_poller import ChangePoller
from proxy.domain.clock import Clock, SystemClock
from proxy.domain.schedule import Jitter
from proxy.engine.context import Policy, StepContext
from proxy.engine.operator_actions import OperatorActions
from proxy.engine.pauses import Pauses
from proxy.flow import Flow
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.outbound.destination import Observe
from proxy.settings import Settings
from proxy.store.audit_streams import AuditStreams
from proxy.store.changes import PollTurns
from proxy.store.layout import StoreLayout
from proxy.store.pauses import PauseStore
from proxy.store.recent_alarms import AlarmBoard
from proxy.tickets.port import ListsChanges


@asynccontextmanager
async def assemble(
    settings: Settings,
    *,
    clock: Clock | None = None,
    dice: Jitter = random.random,
    share: WorkerShare = SINGLE,
) -> AsyncIterator[Runtime]:
    """Open the program; what it opened is closed in reverse order.

    A clock of its own (tests) is also the store's; otherwise the store's server tells the time.
    A worker process is a `part`, which joins the store that is there.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
        StoreUnavailable: the store does not answer.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        alarms = Alarms(metrics)
        store, server = await open_store(settings, stack, alarms, clock, share.store_url)
        await StoreLayout(store).connect()
        pause_store = PauseStore(store)
        await refuse_to_drop(settings, store)
        await resume_removed_destinations(settings, pause_store)

        local = clock or SystemClock()
        outgoing = await open_destinations(
            settings,
            stack,
            open_tokens(settings, store),
            clock=local,
            dice=dice,
            observe=_observer(metrics),
            share=share,
        )
        routes = outgoing.routes(store)
        await routes.publish()
        systems = outgoing.systems()
        listing = {n: it for n, it in systems.items() if isinstance(it, ListsChanges)}
        interval = settings.worker.changes_every
        means = StepContext(
            store=store,
            pauses=_pauses(settings, share, pause_store, alarms, clock=local),
            alarms=alarms,
            metrics=metrics,
            policy=_policy(settings),
            jitter=dice,
            identities=settings.identities.compiled(),
            change_list_intervals=dict.fromkeys(listing, interval),
        )
        flow = Flow(context=means, routes=routes, instances=outgoing.instances(store))
        yield Runtime(
            settings=settings,
            share=share,
            clock=local,
            store=store,
            pause_store=pause_store,
            flow=flow,
            operations=OperatorActions(store=store, routes=routes),
            alarms=alarms,
            board=AlarmBoard(store, alarms),
            metrics=metrics,
            systems=systems,
            event_keys={name: it for name in systems if (it := outgoing.event_keys(name))},
            changes=ChangePoller(
                systems=listing,
                flow=flow,
                turns=PollTurns(store),
                pauses=means.pauses,
                alarms=alarms,
                interval=interval,
            ),
            streams=AuditStreams(store),
            seals=await open_audit_keys(settings, store),
            server=server,
            crew=WorkerSupervisor(
                settings, functools.partial(store_url, settings, server), alarms, metrics
            ),
        )


def _observer(metrics: Metrics) -> Observe:
    """Return what counts outgoing calls."""
    series = metrics.call_seconds.labels
    return lambda destination, outcome, seconds: series(destination, outcome).observe(seconds)


def _pauses(
    settings: Settings, part: WorkerShare, pause_store: PauseStore, alarms: Alarms, *, clock: Clock
) -> Pauses:
    share = max(1, part.portion(settings.worker.concurrency) * 3 // 4)
    return Pauses(store=pause_store, alarms=alarms, clock=clock, share=share)


def _policy(settings: Settings) -> Policy:
    retries = settings.retries
    return Policy(
        retention=settings.store.retention,
        create_for=retries.create,
        callback_for=retries.callback,
        refused_callback_for=retries.refused_callback,
        missing_reads=retries.missing_reads,
    )
