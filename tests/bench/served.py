"""A running proxy as an outsider sees it: its command, its public pages and what /proc tells.

Nothing here reads the proxy's log or imports its code, so any commit can be measured.
"""

import asyncio
import contextlib
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_START_WITHIN: Final = 60.0  # seconds
_STOP_WITHIN: Final = 60.0  # seconds
_ANSWER_WITHIN: Final = 5.0  # seconds
_PAUSE: Final = 0.003  # seconds between two attempts to connect
_STORES: Final = ("valkey-server", "redis-server")
_WORKER_UP: Final = re.compile(rb"^approval_proxy_worker_up\{[^}]*\} 1(\.0)?$", re.MULTILINE)
_MIB: Final = 1024  # smaps_rollup counts in KiB


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of one program use: memory in MiB, processor time in seconds."""

    pss: float
    rss: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Served:
    """A proxy that answers /readyz with 200; `ready` is how many seconds that took."""

    pid: int
    port: int
    began: float
    ready: float

    async def worker_up(self, processes: int) -> float:
        """Wait for the worker processes; return the seconds since the start of the program."""
        while len(_WORKER_UP.findall((await _get(self.port, "/metrics"))[1])) < processes:
            if time.monotonic() - self.began > _START_WITHIN:
                raise SystemExit(f"no {processes} workers within {_START_WITHIN:g} s")
            await asyncio.sleep(_PAUSE)
        return time.monotonic() - self.began

    def usage(self) -> Usage | None:
        """Add up what the program's processes use now; None where there is no /proc."""
        if not Path("/proc/self/smaps_rollup").exists():
            return None
        return _sum(list(_processes(self.pid)))


def clean_environ() -> dict[str, str]:
    """Return our environment without what changes the program, or how Python starts.

    Under PYTHONDONTWRITEBYTECODE, for example, every start would compile what has no bytecode yet.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "APPROVAL_PROXY"))
    }


@asynccontextmanager
async def serving(
    command: Sequence[str],
    config: Path,
    role: str = "all",
    *,
    cwd: Path,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Served]:
    """Start a proxy on a free port of its own; yields it as soon as it is ready.

    `settings` are environment variables that take precedence over the settings file.

    Raises:
        SystemExit: it did not become ready; the message ends with its log.
    """
    port = _free_port()
    listen = {
        "APPROVAL_PROXY__LISTEN__HOST": "127.0.0.1",
        "APPROVAL_PROXY__LISTEN__PORT": str(port),
    }
    log = config.with_suffix(f".{port}.log")
    with log.open("wb") as stderr:
        began = time.monotonic()
        program = await asyncio.create_subprocess_exec(
            *(*command, "serve", "--config", str(config), "--role", role),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            cwd=cwd,
            env={**clean_environ(), **settings, **listen},
        )
    try:
        while (await _get(port, "/readyz"))[0] != "200":
            if program.returncode is not None or time.monotonic() - began > _START_WITHIN:
                raise SystemExit(f"the proxy did not start:\n{log.read_text()}")
            await asyncio.sleep(_PAUSE)
        yield Served(program.pid, port, began, time.monotonic() - began)
    finally:
        await _stop(program)


async def _stop(program: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        program.terminate()
    try:
        await asyncio.wait_for(program.wait(), _STOP_WITHIN)
    except TimeoutError:
        program.kill()
        await program.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def _get(port: int, path: str) -> tuple[str, bytes]:
    """Return status and body of a page; an empty status while nobody answers."""
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
            )
            answer = await reader.read()
            writer.close()
    except (OSError, TimeoutError):
        return "", b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1].decode() if head else "", body


def _processes(root: int) -> Iterator[Path]:
    """Yield the /proc folders of a process and its descendants, the store's server left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(_fields(entry)[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/exe").readlink().name not in _STORES:
                yield Path(f"/proc/{pid}")


def _fields(stat: Path) -> list[str]:
    """Return the fields of a stat file from the state on; the name before it may hold anything."""
    return stat.read_text().rpartition(")")[2].split()


def _sum(processes: Sequence[Path]) -> Usage:
    pss = rss = ticks = 0
    for process in processes:
        with contextlib.suppress(OSError):  # it has just ended
            sizes = dict(
                line.split(":", 1)
                for line in (process / "smaps_rollup").read_text().splitlines()[1:]
            )
            pss += int(sizes["Pss"].split()[0])
            rss += int(sizes["Rss"].split()[0])
            ticks += sum(map(int, _fields(process / "stat")[11:15]))  # with ended children
    return Usage(pss / _MIB, rss / _MIB, ticks / os.sysconf("SC_CLK_TCK"))
