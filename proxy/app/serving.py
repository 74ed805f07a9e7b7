"""The serving process: starts the chosen parts, and stops them gracefully on a signal."""

import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Final, Literal

import uvloop
from aiohttp import web

from proxy.app import api_clients
from proxy.app.assembly import assemble
from proxy.app.listeners import (
    connection_limits,
    health_application,
    listeners,
    trusted_proxies,
)
from proxy.app.processes.gc_tuning import tune_gc
from proxy.app.processes.supervisor import WorkerSupervisor
from proxy.app.runtime import Runtime
from proxy.audit.sealer import Sealer
from proxy.errors import ConfigurationError
from proxy.observability import logs
from proxy.security.tls import Certificate, ServerTls
from proxy.settings import Settings
from proxy.settings.serving import Listen, Listener
from proxy.store.embedded.server import EmbeddedServer
from proxy.web.http.connections import BoundedSite, Connections
from proxy.worker import Worker

Role = Literal["all", "web", "worker"]
_log: Final = logging.getLogger(__name__)


def run(settings: Settings, role: Role) -> None:
    """Serve until SIGTERM or SIGINT; raises ConfigurationError or StoreUnavailable."""
    if settings.embedded and role != "all":
        raise ConfigurationError(
            f"--role {role} needs store.redis_url: the embedded store serves one process only"
        )
    with_workers = settings.worker.processes > 0 and role != "web"
    logs.setup(settings.logs.level, sys.stderr.buffer, process=logs.MAIN if with_workers else "")
    tune_gc()
    uvloop.run(serve(settings, role))


async def serve(settings: Settings, role: Role) -> None:
    """Run the chosen parts; at a signal, work in progress is finished or released.

    Raises:
        ConfigurationError: the embedded server ended; an operator must look before a new start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with assemble(settings) as runtime, runtime.alarm_board.recording():
        for warning in api_clients.expiring_keys(settings, runtime.clock.now()):
            _log.warning(warning)
        worker = None if role == "web" else runtime.workers()
        sealer = None if worker is None else runtime.sealer()
        async with _listening(runtime, role):
            jobs = (stop.wait(), *_jobs(runtime, worker, sealer))
            tasks = [asyncio.create_task(job) for job in jobs]
            _log.info("Serving as %s", role, extra={"role": role})
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            _log.info("Stopping: work in progress is finished or released")
            # while the calls in progress are answered: both have the same time
            within = settings.worker.stop_within / 1_000
            stopped = asyncio.create_task(worker.stop(within)) if worker is not None else None
        if stopped is not None:
            await stopped
        for task in tasks:
            task.cancel()
        if sealer is not None:
            await sealer.close()
        for task in ended:
            task.result()


def _jobs(
    runtime: Runtime, worker: Worker | WorkerSupervisor | None, sealer: Sealer | None
) -> Iterator[Coroutine[Any, Any, object]]:
    """Yield the background jobs of the chosen parts; the end of any of them stops the process."""
    if worker is not None and sealer is not None:
        yield from (worker.run(), runtime.change_poller.run(), sealer.run())
    if credentials := runtime.credentials():
        yield credentials.run()
    if runtime.server is not None:
        yield _store_ended(runtime.server)


@contextlib.asynccontextmanager
async def _listening(runtime: Runtime, role: Role) -> AsyncIterator[None]:
    """Answer HTTP calls; on leaving, those in progress are finished and new ones refused.

    A separate worker answers health checks only, and only on `listen.worker_port`.
    """
    listen = runtime.settings.listen
    served: list[tuple[Listen | Listener, web.Application]] = []
    if role != "worker":
        works_here = role == "all" and not runtime.settings.worker.processes
        served = listeners(runtime, working=works_here)
    elif listen.worker_port is not None:
        health = Listener(host=listen.host, port=listen.worker_port)
        served = [(health, health_application(runtime))]
    async with contextlib.AsyncExitStack() as stack:
        for listener, app in served:
            await stack.enter_async_context(_listening_at(listener, app, runtime))
        yield


@contextlib.asynccontextmanager
async def _listening_at(
    listener: Listen | Listener, app: web.Application, runtime: Runtime
) -> AsyncIterator[None]:
    within = runtime.settings.worker.stop_within / 1_000
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=within)
    await runner.setup()
    site = BoundedSite(
        runner,
        listener.host,
        listener.port,
        ssl_context=_tls(listener),
        connections=Connections(
            connection_limits(runtime.settings),
            trusted_proxies(runtime.settings),
            lambda reason: runtime.metrics.cut.labels(reason).inc(),
        ),
    )
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        address = f"{listener.host}:{listener.port}"
        raise ConfigurationError(
            f"listen: cannot listen on {address} ({error.strerror}); is another program there?"
        ) from error
    for address in runner.addresses:
        _log.info("Listening on %s:%s", *address[:2], extra={"port": address[1]})
    try:
        yield
    finally:
        await runner.cleanup()


def _tls(listener: Listen | Listener) -> ssl.SSLContext | None:
    if (files := listener.tls) is None:
        return None
    certificate = Certificate(files.certificate, files.key)
    try:
        return ServerTls(certificate, client_ca_file=files.client_ca_file).context
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"listen: the TLS files of port {listener.port} cannot be used: {error}"
        ) from error


async def _store_ended(server: EmbeddedServer) -> None:
    await server.wait_stopped()
    raise ConfigurationError("The embedded store ended by itself; see the log in its folder")
