"""The three processes of the demo: witboost, a ticket system and the proxy."""

import asyncio
import contextlib
import json
import random
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

import aiohttp
import orjson

from proxy.demo.child_process import DemoProcess
from proxy.demo.folder import DemoFolder
from proxy.demo.simulator_client import SimulatorClient, until
from proxy.demo.system_kinds import SystemKind
from proxy.web.auth import hash_key, new_key

_NAMES: Final = ("desk", "witboost", "proxy")
_PORTS: Final = range(20_000, 32_000)
_READY_WITHIN: Final = 30.0
_PROXY_STOPS_WITHIN: Final = 6.0  # its stop_within is 2 s, and its store has to stop as well
_SIMULATOR_STOPS_WITHIN: Final = 2.0


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The credentials of the three processes, created for one run."""

    hook_key: str = field(default_factory=new_key, repr=False)
    operator_key: str = field(default_factory=new_key, repr=False)
    client_secret: str = field(default_factory=_secret, repr=False)
    event_secret: str = field(default_factory=_secret, repr=False)
    access_token: str = field(default_factory=_secret, repr=False)


class Stage:
    """The three processes; the proxy can be killed and restarted."""

    def __init__(
        self,
        folder: DemoFolder,
        http: aiohttp.ClientSession,
        *,
        kind: SystemKind,
        adopt_hooks: bool,
    ) -> None:
        self.folder = folder
        self.kind = kind
        self.secrets = Secrets()
        self.children: dict[str, DemoProcess] = {}
        self._http = http
        self._adopt_hooks = adopt_hooks
        self._ports = _free_ports()
        self.url = f"http://127.0.0.1:{self._ports['proxy']}"
        self.desk: SimulatorClient
        self.witboost: SimulatorClient

    async def start(self) -> None:
        """Start all processes and write the settings.

        Raises:
            ConfigurationError: a process did not start.
        """
        adopting = ("--adopt-unknown-hooks",) if self._adopt_hooks else ()
        events_to = f"{self.url}/ticket-events/{self.kind.system}"
        desk = await self._simulator("desk", self.kind.simulator, "--events-to", events_to)
        hook = ("--hook-url", f"{self.url}/approval-requests")
        witboost = await self._simulator(
            "witboost", "witboost", *hook, "--credential", "access_token", *adopting
        )
        url, control = await _url_of(desk), self.kind.control
        self.desk = SimulatorClient("desk", url, self._http, control=control)
        self.witboost = SimulatorClient("witboost", await _url_of(witboost), self._http)
        self._write_settings()
        await self.start_proxy()

    async def start_proxy(self) -> None:
        """Start `approval-proxy serve` and wait until it is ready.

        Raises:
            ConfigurationError: it did not start.
        """
        command = ("proxy", "serve", "--config", str(self.folder.settings))
        proxy = await DemoProcess.start("proxy", *command, folder=self.folder)
        self.children["proxy"] = proxy

        async def ready_or_ended() -> bool:
            return proxy.has_ended or await self._ready()

        with contextlib.suppress(TimeoutError):
            if await until(ready_or_ended, within=_READY_WITHIN) and not proxy.has_ended:
                return
        raise proxy.failed_to_start()

    async def kill_proxy(self) -> None:
        """Kill the proxy, as in a crash."""
        await self.children["proxy"].kill()

    async def reason(self, correlation_id: str, *, within: float) -> str:
        """Return the reason why a request waits, as soon as the proxy reports one.

        Raises:
            TimeoutError: there was no reason within so many seconds.
        """

        async def reported() -> str:
            return str((await self._status(correlation_id)).get("reason", ""))

        return await until(reported, within=within)

    async def stop(self) -> None:
        """Stop every process, the proxy first; a second call does nothing.

        Takes a bounded time: a process that does not end in time is killed.
        """
        proxy = self.children.pop("proxy", None)
        if proxy is not None:
            await proxy.stop(_PROXY_STOPS_WITHIN)
        others = [self.children.pop(name) for name in tuple(self.children)]
        await asyncio.gather(*(child.stop(_SIMULATOR_STOPS_WITHIN) for child in others))

    async def _simulator(self, name: str, simulator: str, *arguments: str) -> DemoProcess:
        journal = str(self.folder.journal(name))
        credentials = {
            "DESK_CLIENT_ID": "approval-proxy",
            "DESK_CLIENT_SECRET": self.secrets.client_secret,
            "DESK_EVENT_SECRET": self.secrets.event_secret,
            "WITBOOST_API_KEY": self.secrets.hook_key,
            "WITBOOST_CALLBACK_SECRET": self.secrets.access_token,
        }
        self.children[name] = await DemoProcess.start(
            name,
            *("proxy.demo.serve", simulator, "--port", str(self._ports[name])),
            *("--journal", journal, *arguments),
            folder=self.folder,
            secrets={
                key: value for key, value in credentials.items() if key.startswith(name.upper())
            },
        )
        return self.children[name]

    async def _status(self, correlation_id: str) -> dict[str, Any]:
        """Return the status of a request, as the client that sent it sees it."""
        url = f"{self.url}/approval-requests/{correlation_id}"
        headers = {"X-API-Key": self.secrets.hook_key}
        async with self._http.get(url, headers=headers) as answer:
            answer.raise_for_status()
            status: dict[str, Any] = orjson.loads(await answer.read())
            return status

    async def _ready(self) -> bool:
        try:
            async with self._http.get(f"{self.url}/readyz") as answer:
                return answer.ok
        except aiohttp.ClientConnectionError:
            return False

    def _write_settings(self) -> None:
        system = self.kind.ticket_system(
            {
                "desk": self.desk.url,
                "client_secret": self.secrets.client_secret,
                "event_secret": self.secrets.event_secret,
            }
        )
        text = Template((files("proxy.demo") / "settings.yaml").read_text()).substitute(
            proxy=self.url,
            port=self._ports["proxy"],
            store=json.dumps(str(self.folder.store))[1:-1],  # within double quotes, as in JSON
            ticket_system=system,
            system=self.kind.system,
            witboost=self.witboost.url,
            access_token=self.secrets.access_token,
            hook_key_hash=hash_key(self.secrets.hook_key),
            operator_key_hash=hash_key(self.secrets.operator_key),
        )
        self.folder.settings.touch(mode=0o600)
        self.folder.settings.write_text(text)


@asynccontextmanager
async def open_stage(
    path: Path, *, kind: SystemKind, adopt_hooks: bool = False
) -> AsyncIterator[Stage]:
    """Start the three processes in a folder; they are always stopped on leaving.

    With `adopt_hooks` witboost accepts callbacks to unknown hooks, so that a person can call the
    proxy's hook directly.

    Raises:
        ConfigurationError: the folder cannot be used, or a process did not start.
    """
    folder = DemoFolder.claim(path)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            stage = Stage(folder, http, kind=kind, adopt_hooks=adopt_hooks)
            try:
                await stage.start()
                yield stage
            finally:
                await stage.stop()
    finally:
        folder.release()


async def _url_of(simulator: DemoProcess) -> str:
    return str(orjson.loads(await simulator.first_line())["url"])


def _free_ports() -> dict[str, int]:
    """Choose ports below those that operating systems use for outgoing connections.

    Desk and proxy close their ports and listen there again; no other program may get them
    meanwhile.
    """
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as taken:
        while len(ports) < len(_NAMES):
            probe = taken.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(_PORTS)))
                ports[_NAMES[len(ports)]] = probe.getsockname()[1]
    return ports
