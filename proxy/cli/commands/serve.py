"""`approval-proxy serve`: run the program until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from typing import Final, Literal

import uvloop
from aiohttp import web

from proxy.app import Runtime, api_clients, assemble
from proxy.app.processes.gc_tuning import tune_gc
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.errors import ConfigurationError
from proxy.observability import logs
from proxy.security.tls import Certificate, ServerTls
from proxy.settings import Settings
from proxy.settings.listen import Listen, Listener
from proxy.store.embedded.server import EmbeddedServer
from proxy.web.http.connections import BoundedSite, Connections

Role = Literal["all", "web", "worker"]
_log: Final = logging.getLogger(__name__)


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "serve",
        help="run the proxy",
        description="Runs the proxy until SIGTERM; logs are JSON lines on standard error.",
    )
    add_config(parser)
    parser.add_argument(
        "--role",
        choices=("all", "web", "worker"),
        default="all",
        help="what this process does; web and worker apart need a redis_url (default: all)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; raises SettingsError, ConfigurationError or StoreUnavailable."""
    settings, role = settings_of(arguments), arguments.role
    if settings.embedded and role != "all":
        raise ConfigurationError(
            f"--role {role} needs store.redis_url: the embedded store serves one process only"
        )
    several = settings.worker.processes > 0 and role != "web"
    logs.setup(settings.logs.level, sys.stderr.buffer, process=logs.MAIN if several else "")
    tune_gc()
    uvloop.run(serve(settings, role))
    return 0


async def serve(settings: Settings, role: Role) -> None:
    """Run the chosen parts; what is held when told to stop is finished or given back.

    Raises:
        ConfigurationError: the store's own server ended; somebody must look before a new start.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with assemble(settings) as program, program.board.taking_over():
        worker = None if role == "web" else program.working()
        sealer, credentials = program.sealer(), program.credentials()
        running: list[asyncio.Task[object]] = [asyncio.create_task(stop.wait())]
        for said in api_clients.expiring_keys(settings, program.clock.now()):
            _log.warning(said)
        async with _listening(program, role):
            if worker is not None:
                running.append(asyncio.create_task(worker.run()))
                running.append(asyncio.create_task(program.changes.run()))
                running.append(asyncio.create_task(sealer.run()))
            if credentials is not None:
                running.append(asyncio.create_task(credentials.run()))
            if program.server is not None:
                running.append(asyncio.create_task(_store_ended(program.server)))
            _log.info("Serving as %s", role, extra={"role": role})
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            _log.info("Stopping: what is held is finished or given back")
            # beside the calls that are being answered: one time for both
            within = settings.worker.stop_within / 1_000
            stopped = asyncio.create_task(worker.stop(within)) if worker is not None else None
        if stopped is not None:
            await stopped
        for task in running:
            task.cancel()
        if worker is not None:
            await sealer.close()
        for task in ended:
            task.result()


@contextlib.asynccontextmanager
async def _listening(program: Runtime, role: Role) -> AsyncIterator[None]:
    """Answer HTTP calls; on leaving, those under way are finished and no new ones taken.

    A worker of its own answers only how it is, and only where `listen.worker_port` says.
    """
    listen = program.settings.listen
    places: list[tuple[Listen | Listener, web.Application]] = []
    if role != "worker":
        itself = role == "all" and not program.settings.worker.processes
        places = program.listeners(working=itself)
    elif listen.worker_port is not None:
        here = Listener(host=listen.host, port=listen.worker_port)
        places = [(here, program.health())]
    async with contextlib.AsyncExitStack() as stack:
        for place, app in places:
            await stack.enter_async_context(_listening_at(place, app, program))
        yield


@contextlib.asynccontextmanager
async def _listening_at(
    place: Listen | Listener, app: web.Application, program: Runtime
) -> AsyncIterator[None]:
    patience = program.settings.worker.stop_within / 1_000
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=patience)
    await runner.setup()
    site = BoundedSite(
        runner,
        place.host,
        place.port,
        ssl_context=_tls(place),
        connections=Connections(
            program.bounds(), program.peers, lambda why: program.metrics.cut.labels(why).inc()
        ),
    )
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        where = f"{place.host}:{place.port}"
        raise ConfigurationError(
            f"listen: cannot listen on {where} ({error.strerror}); is another program there?"
        ) from error
    for address in runner.addresses:
        _log.info("Listening on %s:%s", *address[:2], extra={"port": address[1]})
    try:
        yield
    finally:
        await runner.cleanup()


def _tls(place: Listen | Listener) -> ssl.SSLContext | None:
    if (files := place.tls) is None:
        return None
    own = Certificate(files.certificate, files.key)
    try:
        return ServerTls(own, client_ca_file=files.client_ca_file).context
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"listen: the TLS files of port {place.port} cannot be used: {error}"
        ) from error


async def _store_ended(server: EmbeddedServer) -> None:
    await server.wait_stopped()
    raise ConfigurationError("The embedded store ended by itself; see the log in its folder")
