"""A worker process: started by the process that serves, ended by it or with it, and by nobody else.

It is told the settings over its standard input, a socket whose other end only that process holds,
so that all have the same ones and no secret is on a command line. The socket's end is the word to
stop: the kernel gives it too when that process is killed, on Linux and macOS alike. What is held
then is finished or given back. See `crew` for the other side.
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
    """Work until told to stop; the exit status is 1 where that cannot begin, or ends too early."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # whoever ends a whole service sends these to all its processes: one of them ends the others
        signal.signal(number, signal.SIG_IGN)
    tune_gc()
    return uvloop.run(_joined(socket.socket(fileno=sys.stdin.fileno())))


async def _joined(channel: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=channel)
    told = await receive(reader)
    if told is None:
        return 0
    order: tuple[Settings, WorkerShare] = pickle.loads(told)  # noqa: S301 - from who started us
    settings, part = order
    logs.setup(settings.logs.level, sys.stderr.buffer, process=part.name)
    try:
        async with assemble(settings, part=part) as program:
            await _work(program, reader, writer)
    except ProxyError as error:
        _log.error("%s cannot work: %s", part.name, error)
        return 1
    return 0


async def _work(
    program: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Work until the other side is gone."""
    worker = program.worker()
    working = asyncio.create_task(worker.run())
    asked = asyncio.create_task(_answer(program, reader, writer))
    async with program.board.taking_over():
        send(writer)
        await asyncio.wait((working, asked), return_when=asyncio.FIRST_COMPLETED)
        await worker.stop(program.settings.worker.stop_within / 1_000)
        asked.cancel()
        await working


async def _answer(
    program: Runtime, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Tell what was counted and measured whenever somebody asks."""
    while await receive(reader) is not None:
        send(writer, program.metrics.text())


if __name__ == "__main__":
    sys.exit(main())
