"""Tokens of the whole program: in the store, for every process, and never in clear."""

import base64
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from proxy.app.assembly import assemble
from proxy.app.runtime import Runtime
from proxy.errors import ConfigurationError, SettingsError
from proxy.security.key_ring import KeyRing, kept_key
from proxy.simulators.desk.server import Desk
from tests.support.manual_clock import ManualClock
from tests.support.rig import CLIENT_SECRET, make_settings, settings_tree

RAW_KEY = bytes(range(32))
KEY = base64.b64encode(RAW_KEY).decode()
ENCRYPTION = {"keys": [{"id": "one", "key": KEY}], "index_key": KEY}


@pytest.fixture
async def desk(clock: ManualClock) -> AsyncIterator[Desk]:
    async with Desk(
        client_id="proxy", client_secret=CLIENT_SECRET, event_secret="", clock=clock
    ) as desk:
        yield desk


@pytest.fixture
def tree(desk: Desk, redis_url: str, tmp_path: Path) -> dict[str, Any]:
    return settings_tree(
        desk=desk.url, witboost="http://127.0.0.1:9", redis_url=redis_url, folder=tmp_path
    )


Start = Callable[..., AbstractAsyncContextManager[tuple[str, tuple[Runtime, Runtime]]]]


@pytest.fixture
def two_programs(tree: dict[str, Any], tmp_path: Path, clock: ManualClock) -> Start:
    """Two processes, as far as tokens can tell: each has connections and sources of its own."""

    @asynccontextmanager
    async def start(**top: Any) -> AsyncIterator[tuple[str, tuple[Runtime, Runtime]]]:
        settings = make_settings(tmp_path, tree | top)
        async with assemble(settings, clock=clock) as one, assemble(settings, clock=clock) as two:
            yield settings.store.namespace, (one, two)

    return start


@pytest.mark.parametrize(("encryption", "requests"), [(ENCRYPTION, 1), ({}, 2)])
async def test_processes_share_a_token_if_there_is_a_key_to_encrypt_it_with(
    encryption: dict[str, Any], requests: int, desk: Desk, redis: Redis, two_programs: Start
) -> None:
    async with two_programs(encryption=encryption) as (namespace, programs):
        for program in programs:
            await program.systems["desk"].ping()

        assert desk.authorization.requests == requests
        names = [name async for name in redis.scan_iter(f"{namespace}:token:*")]
        assert len(names) == len(encryption.get("keys", []))
        for name in names:
            sealed = await redis.get(name)
            assert isinstance(sealed, bytes)
            value, _ = orjson.loads(KeyRing([("one", RAW_KEY)]).open(sealed, name=name.decode()))
            assert desk.authorization.admits(f"Bearer {value}")
            assert value.encode() not in sealed


async def test_a_refresh_token_is_not_asked_for_where_it_could_not_be_kept(
    tree: dict[str, Any], tmp_path: Path
) -> None:
    tree["ticket_systems"]["desk"]["auth"]["grant"] = "refresh_token"

    with pytest.raises(SettingsError) as caught:
        make_settings(tmp_path, tree)

    assert "ticket_systems.desk.auth.grant" in str(caught.value)
    assert "approval-proxy keys new --encryption" in str(caught.value)
    make_settings(tmp_path, tree | {"encryption": ENCRYPTION})
    make_settings(tmp_path, tree | {"store": {"folder": str(tmp_path / "store")}})


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"

    key = kept_key(path)

    assert kept_key(path) == key
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["encryption.key"]


def test_half_a_key_of_a_crash_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "encryption.key.new").write_text("half")

    assert len(kept_key(tmp_path / "encryption.key")) == 32


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [("no key", 0o600, "does not hold"), ("", 0o600, "does not hold"), (None, 0o640, "chmod")],
)
def test_a_key_that_is_damaged_or_open_to_others_is_refused(
    content: str | None, mode: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "encryption.key"
    kept_key(path)
    if content is not None:
        path.write_text(content)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=message):
        kept_key(path)
