"""One store that several programs use one after the other, with commands of an operator between."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.app.offline import open_stopped_store
from proxy.cli import main
from proxy.security.key_ring import new_key
from proxy.settings import Settings
from proxy.simulators.desk.server import Desk
from proxy.simulators.witboost import Witboost
from proxy.store.layout import StoreLayout
from proxy.store.requests import RequestStore
from tests.store.releases.stage import ROUTES
from tests.support.canaries import API_KEY, CLIENT_SECRET, EVENT_SECRET, stored
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig, make_settings, run_between, settings_tree

KEY = {"id": "k1", "key": new_key()}


def keyed() -> dict[str, Any]:
    """Return the encryption's settings with an index key that was never used."""
    return {"keys": [KEY], "index_key": new_key()}


@dataclass
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Site:
    """Neighbours that stay, a store, and the settings in force; `tree` adds to these."""

    folder: Path
    redis_url: str | None
    desk: Desk
    witboost: Witboost
    clock: ManualClock
    capsys: pytest.CaptureFixture[str]
    tree: dict[str, Any] = field(default_factory=dict)

    def settings(self, **top: Any) -> Settings:
        """Put settings in force, beside those that were before."""
        for name, section in top.items():
            before = self.tree.get(name)
            self.tree[name] = {**before, **section} if isinstance(before, dict) else section
        tree = settings_tree(
            desk=self.desk.url,
            witboost=self.witboost.url,
            redis_url=self.redis_url,
            folder=self.folder,
            routes=ROUTES,
            **self.tree,
        )
        return make_settings(self.folder, tree)

    @asynccontextmanager
    async def service(
        self,
        check: Callable[[RequestStore], Awaitable[None]] = check_store,
        *,
        seal: bool = True,
        **top: Any,
    ) -> AsyncIterator[Rig]:
        """Run the program; afterwards the store must be consistent, and the audit is sealed."""
        async with run_between(self.desk, self.witboost, self.settings(**top), self.clock) as rig:
            yield rig
            await check(rig.program.store)
            if seal:
                await rig.program.sealer().close()

    @asynccontextmanager
    async def store(self) -> AsyncIterator[RequestStore]:
        """Open the store while nobody serves."""
        async with open_stopped_store(self.settings()) as store:
            await StoreLayout(store).connect()
            yield store

    async def command(self, *words: str | Path) -> Said:
        """Run `approval-proxy store`."""
        self.settings()
        config = self.folder / "approval-proxy.yaml"
        arguments = ["store", *map(str, words), "--config", str(config)]
        code = await asyncio.to_thread(main, arguments)
        return Said(code, *self.capsys.readouterr())

    async def done(self, *words: str | Path) -> Said:
        """Run `approval-proxy store`, which must succeed."""
        said = await self.command(*words)
        assert (said.code, said.err) == (0, ""), said.err
        return said

    async def refused(self, *words: str | Path) -> str:
        """Run `approval-proxy store`, which must be refused without a change; return its words."""
        before = await self.everything()
        said = await self.command(*words)
        assert (said.code, said.out) == (1, ""), said
        assert await self.everything() == before
        return said.err

    async def everything(self) -> Mapping[bytes, bytes]:
        """Return every key under the site's namespaces, with what it holds."""
        assert self.redis_url is not None
        async with Redis.from_url(self.redis_url) as client:
            return {name: it async for name, it in stored(client, self.namespace)}

    @property
    def namespace(self) -> str:
        """The namespace in force."""
        return str(self.tree["store"]["namespace"])


@asynccontextmanager
async def open_site(
    folder: Path,
    redis_url: str | None,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
    **top: Any,
) -> AsyncIterator[Site]:
    """Start the neighbours."""
    async with (
        Desk(
            client_id="proxy", client_secret=CLIENT_SECRET, event_secret=EVENT_SECRET, clock=clock
        ) as desk,
        Witboost(api_key=API_KEY, clock=clock) as witboost,
    ):
        site = Site(folder, redis_url, desk, witboost, clock, capsys)
        site.settings(store={"namespace": f"t{secrets.token_hex(6)}"}, **top)
        yield site
