"""Processes of the program that are kept alive: whoever is killed is started again."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from proxy.store.embedded.server import EmbeddedServer
from tests.support.faults.evidence import Freeze
from tests.support.faults.fault_proxy import FaultProxy
from tests.support.faults.nursery import ROOT
from tests.support.waiting import wait_until

_OURS: Final = "APPROVAL_PROXY"
_READY_WITHIN: Final = 60.0
_STOPPED_WITHIN: Final = 30.0


class Member:
    """One process under a name, restarted until it is told to stop; its log goes on in one file."""

    def __init__(self, name: str, settings: Path, role: str, port: int) -> None:
        self.name = name
        self.log = settings.with_name(f"{name}.log")
        self.url = f"http://127.0.0.1:{port}"
        self._words = ("serve", "--config", str(settings), "--role", role)
        self._port = "WORKER_PORT" if role == "worker" else "PORT"
        self._number = port
        self._process: asyncio.subprocess.Process | None = None
        self._frozen = asyncio.Lock()
        self._stopping = False

    async def run(self) -> None:
        """Start the process again and again; return when it ended after `stop`."""
        while not self._stopping:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "proxy", *self._words),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=ROOT,
                    env={
                        **{name: it for name, it in os.environ.items() if _OURS not in name},
                        f"{_OURS}__LISTEN__{self._port}": str(self._number),
                    },
                    start_new_session=True,
                )
            await self._process.wait()

    async def ready(self) -> None:
        """Return when it answers that it is alive."""
        await wait_until(self._alive, within=_READY_WITHIN, what=f"{self.name} is alive")

    async def kill(self) -> None:
        """End it by SIGKILL; it is started again."""
        async with self._frozen:
            self._signal(signal.SIGKILL)

    async def freeze(self, seconds: float) -> Freeze:
        """Stop it by SIGSTOP for some seconds."""
        async with self._frozen:
            began = _now()
            self._signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            ended = _now()
            self._signal(signal.SIGCONT)
            return Freeze(self.name, began, ended)

    async def stop(self) -> None:
        """Let it end in good order; SIGKILL if it does not, which fails the run."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        assert self._process is not None
        try:
            await asyncio.wait_for(self._process.wait(), _STOPPED_WITHIN)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            raise AssertionError(f"{self.name} does not stop") from None

    def end(self) -> None:
        """End it at once, at the end of a run."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _alive(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=1)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/livez") as answer,
            ):
                return answer.ok
        return False


class Fleet:
    """Web and worker processes that share settings; `async with` starts them and ends them."""

    def __init__(self, settings: Path, *, ports: Sequence[int], workers: int) -> None:
        roles = ["worker"] * workers + ["web"] * (len(ports) - workers)
        self.members: Mapping[str, Member] = {
            f"{role}-{number}": Member(f"{role}-{number}", settings, role, port)
            for number, (role, port) in enumerate(zip(roles, ports, strict=True))
        }
        self._running: list[asyncio.Task[None]] = []

    @property
    def webs(self) -> list[Member]:
        """Those that take hook calls."""
        return [it for name, it in self.members.items() if name.startswith("web")]

    @property
    def logs(self) -> Mapping[str, Path]:
        """The log of each process."""
        return {name: it.log for name, it in self.members.items()}

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(it.run()) for it in self.members.values()]
        try:
            await asyncio.gather(*[it.ready() for it in self.members.values()])
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def stop(self) -> None:
        """Let all end in good order, at the same time."""
        await asyncio.gather(*[it.stop() for it in self.members.values()])

    async def _end(self) -> None:
        for member in self.members.values():
            member.end()
        await asyncio.gather(*self._running)


class RestartedServer:
    """A store's server that is killed and started again on its data, behind a fault proxy."""

    def __init__(self, folder: Path, proxy: FaultProxy) -> None:
        self._folder = folder
        self._proxy = proxy
        self._server: EmbeddedServer | None = None
        self.restarts: list[int] = []

    @property
    def url(self) -> str:
        """Where it listens now, beside the fault proxy."""
        assert self._server is not None
        return self._server.url

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.close()

    async def restart(self) -> None:
        """Kill it by SIGKILL and start it again; note when that was."""
        assert self._server is not None
        self.restarts.append(_now())
        os.kill(self._server.pid, signal.SIGKILL)
        await self._server.wait_stopped()
        await self._server.close()
        await self._start()

    async def _start(self) -> None:
        self._server = await EmbeddedServer.start(self._folder, fsync="everysec")
        self._proxy.point_at(self._server.url)


def _now() -> int:
    return int(time.time() * 1_000)
