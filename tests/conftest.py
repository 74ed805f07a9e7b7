"""Fixtures that every folder of tests shares: a real server, a store of its own per test."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from redis.asyncio import Redis

from proxy.store.client.connections import connect
from proxy.store.requests import RequestStore
from tests.support.canaries import CanaryLog, found_in, stored
from tests.support.invariants import check_store
from tests.support.manual_clock import ManualClock
from tests.support.rig import Rig
from tests.support.rig import open_rig as start_rig
from tests.support.servers import ServerKind, start_server


@pytest.fixture(scope="session")
def redis_url(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[str]:
    """One embedded server for the whole run of this process."""
    kind: ServerKind = getattr(request, "param", "embedded")
    folder: Path = tmp_path_factory.mktemp("store")
    with asyncio.Runner() as runner:
        server = runner.run(start_server(folder, kind, fsync="everysec"))
        yield server.url
        runner.run(server.close())


@pytest.fixture(autouse=True)
def canary_log() -> Iterator[CanaryLog]:
    """No test may let a secret into the log, at level info and above."""
    root, ours, looking = logging.getLogger(), logging.getLogger("proxy"), CanaryLog()
    before = ours.level
    ours.setLevel(logging.INFO)
    root.addHandler(looking)
    yield looking
    root.removeHandler(looking)
    ours.setLevel(before)
    assert not looking.found, f"secrets in the log: {looking.found}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: Redis, clock: ManualClock) -> AsyncIterator[RequestStore]:
    """A store in a namespace of its own; afterwards its indices must equal its records."""
    store = RequestStore(redis, namespace=f"t{secrets.token_hex(6)}", partitions=4, clock=clock)
    yield store
    await store.batcher.close()
    await check_store(store)


class OpenRig(Protocol):
    """Starts the whole program as the test wants it; see `tests.support.rig.open_rig`."""

    def __call__(self, **how: Any) -> AbstractAsyncContextManager[Rig]: ...


@pytest.fixture
def open_rig(tmp_path: Path, redis_url: str, clock: ManualClock) -> OpenRig:
    @asynccontextmanager
    async def opened(**how: Any) -> AsyncIterator[Rig]:
        async with start_rig(tmp_path, redis_url, clock, **how) as rig:
            yield rig
            await check_store(rig.program.store)
            assert not found_in(rig.program.metrics.text()), "a secret in the metrics"
            store = rig.program.store
            async for name, value in stored(store.client, store.keys.namespace):
                assert not found_in(name + value), f"a secret in {name!r}"

    return opened


@pytest.fixture
async def rig(open_rig: OpenRig) -> AsyncIterator[Rig]:
    """The whole program between its neighbours; afterwards the store must be consistent."""
    async with open_rig() as rig:
        yield rig
