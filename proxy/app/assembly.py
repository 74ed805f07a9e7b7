"""Opens the program: what is opened later is closed first."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from proxy.app.destinations import open_destinations
from proxy.app.keys import open_audit_keys, open_tokens
from proxy.app.open_store import check_store, open_store
from proxy.app.processes.share import SINGLE, WorkerShare
from proxy.app.runtime import Runtime
from proxy.domain.clock import Clock, SystemClock
from proxy.domain.schedule import Jitter
from proxy.observability.alarms import Alarms
from proxy.observability.metrics import Metrics
from proxy.outbound.destination import Observe
from proxy.settings import Settings


@asynccontextmanager
async def assemble(
    settings: Settings,
    *,
    clock: Clock | None = None,
    dice: Jitter = random.random,
    share: WorkerShare = SINGLE,
) -> AsyncIterator[Runtime]:
    """Open the program.

    A given clock (in tests) is also the clock of the store; without one, the store uses the time
    of its server. A worker process has a `share`, with the URL of the opened store.

    Raises:
        ConfigurationError: the store or the settings cannot be used.
        StoreUnavailableError: the store does not answer.
    """
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        alarms = Alarms(metrics)
        store, server = await open_store(settings, stack, alarms, clock, share.store_url)
        await check_store(settings, store)
        local_clock, tokens = clock or SystemClock(), open_tokens(settings, store)
        observe = _observer(metrics)
        destinations = await open_destinations(
            settings, stack, tokens, clock=local_clock, dice=dice, observe=observe, share=share
        )
        runtime = Runtime(
            settings=settings,
            share=share,
            clock=local_clock,
            jitter=dice,
            store=store,
            server=server,
            alarms=alarms,
            metrics=metrics,
            destinations=destinations,
            audit_keys=await open_audit_keys(settings, store),
        )
        await runtime.routes.publish()
        yield runtime


def _observer(metrics: Metrics) -> Observe:
    """Return the function that records outgoing calls."""
    series = metrics.call_seconds.labels
    return lambda destination, outcome, seconds: series(destination, outcome).observe(seconds)
