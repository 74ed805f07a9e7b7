"""The main program of a worker process, which only the serving process starts and stops.

It receives the settings over its standard input, a socket whose other end only the serving process
holds: so all processes have the same settings, and no secret is on a command line. EOF on the
socket is the order to stop; the kernel sends it too if the serving process is killed, on Linux and
macOS. The requests in progress are then finished or released. See `supervisor` for the other side.
"""

import asyncio
import logging
import pickle
import signal
import socket
import sys
from typing import Final

import uvloop

from proxy.app.assembly import assemble
from proxy.app.processes.gc_tuning import tune_gc
from proxy.app.processes.ipc import receive, send
from proxy.app.processes.share import WorkerShare
from proxy.app.runtime import Runtime
from proxy.errors import ProxyError
from proxy.observability import logs
from proxy.settings import Settings

_log: Final = logging.getLogger(__name__)


def main() -> int:
    """Work until EOF; the exit status is 1 if the process cannot start, or ends too early."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # service managers send these to every process; only the serving process may stop this one
        signal.signal(number, signal.SIG_IGN)
    tune_gc()
    return uvloop.run(_run(socket.socket(fileno=sys.stdin.fileno())))


async def _run(channel: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    message = await receive(reader)
    if message is None:
        return 0
    order: tuple[Settings, WorkerShare] = pickle.loads(message)  # noqa: S301 - from our parent
    settings, share = order
    logs.setup(settings.logs.level, sys.stderr.buffer, process=share.name)
    try:
        async with assemble(settings, share=share) as runtime:
            await _work(runtime, reader, writer)
    except ProxyError as error:
        _log.error("%s cannot work: %s", share.name, error)
        return 1
    return 0


async def _work(
    runtime: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Work until the serving process closes its end."""
    worker = runtime.worker()
    working = asyncio.create_task(worker.run())
    pings = asyncio.create_task(_answer_pings(runtime, reader, writer))
    async with runtime.alarm_board.recording():
        send(writer)
        await asyncio.wait((working, pings), return_when=asyncio.FIRST_COMPLETED)
        await worker.stop(runtime.settings.worker.stop_within / 1_000)
        pings.cancel()
        await working


async def _answer_pings(
    runtime: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer each ping with the metrics of this process."""
    while await receive(reader) is not None:
        send(writer, runtime.metrics.text())


if __name__ == "__main__":
    sys.exit(main())
