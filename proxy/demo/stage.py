"""Where the scenes are played: witboost, a ticket system and the proxy, each a process."""

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

from proxy.demo.child_process import Child
from proxy.demo.folder import DemoFolder
from proxy.demo.simulator_client import SimulatorClient, until
from proxy.demo.system_kinds import SystemKind
from proxy.security.api_keys import hash_key, new_key

_NAMES: Final = ("desk", "witboost", "proxy")
_PORTS: Final = range(20_000, 32_000)
_READY_WITHIN: Final = 30.0
_PROXY_STOPS_WITHIN: Final = 6.0  # its own stop_within is 2 s, and its store has to end as well
_SIMULATOR_STOPS_WITHIN: Final = 2.0


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the three prove themselves with, made for one run."""

    hook_key: str = field(default_factory=new_key, repr=False)
    operator_key: str = field(default_factory=new_key, repr=False)
    client_secret: str = field(default_factory=_secret, repr=False)
    event_secret: str = field(default_factory=_secret, repr=False)
    access_token: str = field(default_factory=_secret, repr=False)


class Stage:
    """The three processes; the proxy can be killed and started again, the others stay."""

    def __init__(
        self,
        folder: DemoFolder,
        http: aiohttp.ClientSession,
        *,
        cast: SystemKind,
        adopt_hooks: bool,
    ) -> None:
        self.folder = folder
        self.cast = cast
        self.secrets = Secrets()
        self.children: dict[str, Child] = {}
        self._http = http
        self._adopt_hooks = adopt_hooks
        self._ports = _free_ports()
        self.url = f"http://127.0.0.1:{self._ports['proxy']}"
        self.desk: SimulatorClient
        self.witboost: SimulatorClient

    async def start(self) -> None:
        """Start everything and write the settings.

        Raises:
            ConfigurationError: one of them did not start.
        """
        adopting = ("--adopt-unknown-hooks",) if self._adopt_hooks else ()
        events_to = f"{self.url}/ticket-events/{self.cast.system}"
        desk = await self._simulator("desk", self.cast.simulator, "--events-to", events_to)
        hook = ("--hook-url", f"{self.url}/approval-requests")
        witboost = await self._simulator(
            "witboost", "witboost", *hook, "--credential", "access_token", *adopting
        )
        url, control = await _url_of(desk), self.cast.control
        self.desk = SimulatorClient("desk", url, self._http, control=control)
        self.witboost = SimulatorClient("witboost", await _url_of(witboost), self._http)
        self._write_settings()
        await self.start_proxy()

    async def start_proxy(self) -> None:
        """Start `approval-proxy serve` and wait until it is ready.

        Raises:
            ConfigurationError: it did not start.
        """
        words = ("proxy", "serve", "--config", str(self.folder.settings))
        proxy = await Child.start("proxy", *words, folder=self.folder)
        self.children["proxy"] = proxy

        async def settled() -> bool:
            return proxy.ended or await self._ready()

        with contextlib.suppress(TimeoutError):
            if await until(settled, within=_READY_WITHIN) and not proxy.ended:
                return
        raise proxy.failed_to_start()

    async def kill_proxy(self) -> None:
        """End the proxy as a crash does."""
        await self.children["proxy"].kill()

    async def reason(self, correlation_id: str, *, within: float) -> str:
        """Return why a request does not get on, as soon as the proxy says so.

        Raises:
            TimeoutError: it did not say within so many seconds.
        """

        async def given() -> str:
            return str((await self._status(correlation_id)).get("reason", ""))

        return await until(given, within=within)

    async def stop(self) -> None:
        """End every process, the proxy first; a second call does nothing.

        Takes a bounded time: who does not end by itself is killed.
        """
        proxy = self.children.pop("proxy", None)
        if proxy is not None:
            await proxy.stop(_PROXY_STOPS_WITHIN)
        others = [self.children.pop(name) for name in tuple(self.children)]
        await asyncio.gather(*(child.stop(_SIMULATOR_STOPS_WITHIN) for child in others))

    async def _simulator(self, name: str, simulator: str, *words: str) -> Child:
        journal = str(self.folder.journal(name))
        proofs = {
            "DESK_CLIENT_ID": "approval-proxy",
            "DESK_CLIENT_SECRET": self.secrets.client_secret,
            "DESK_EVENT_SECRET": self.secrets.event_secret,
            "WITBOOST_API_KEY": self.secrets.hook_key,
            "WITBOOST_CALLBACK_SECRET": self.secrets.access_token,
        }
        self.children[name] = await Child.start(
            name,
            *("proxy.demo.serve", simulator, "--port", str(self._ports[name])),
            *("--journal", journal, *words),
            folder=self.folder,
            secrets={key: value for key, value in proofs.items() if key.startswith(name.upper())},
        )
        return self.children[name]

    async def _status(self, correlation_id: str) -> dict[str, Any]:
        """Return what the proxy says about a request to the client that sent it."""
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
        system = self.cast.ticket_system(
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
            system=self.cast.system,
            witboost=self.witboost.url,
            access_token=self.secrets.access_token,
            hook_key_hash=hash_key(self.secrets.hook_key),
            operator_key_hash=hash_key(self.secrets.operator_key),
        )
        self.folder.settings.touch(mode=0o600)
        self.folder.settings.write_text(text)


@asynccontextmanager
async def open_stage(
    path: Path, *, cast: SystemKind, adopt_hooks: bool = False
) -> AsyncIterator[Stage]:
    """Start the three processes in a folder; on leaving, however that happens, they are ended.

    With `adopt_hooks` witboost takes callbacks to hooks that it never made, so that a person can
    call the proxy's hook directly.

    Raises:
        ConfigurationError: the folder cannot be used, or a process did not start.
    """
    folder = DemoFolder.claim(path)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            stage = Stage(folder, http, cast=cast, adopt_hooks=adopt_hooks)
            try:
                await stage.start()
                yield stage
            finally:
                await stage.stop()
    finally:
        folder.release()


async def _url_of(simulator: Child) -> str:
    return str(orjson.loads(await simulator.first_line())["url"])


def _free_ports() -> dict[str, int]:
    """Choose below the ports that systems give to outgoing connections.

    Desk and proxy close their ports and listen there again; nobody may get them meanwhile.
    """
    ports: dict[str, int] = {}
    with contextlib.ExitStack() as taken:
        while len(ports) < len(_NAMES):
            probe = taken.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(_PORTS)))
                ports[_NAMES[len(ports)]] = probe.getsockname()[1]
    return ports
