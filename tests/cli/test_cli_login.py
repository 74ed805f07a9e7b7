"""`approval-proxy login`: once, by a person, and from then on the program renews by itself."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest
import yaml
from joserfc.jwk import ECKey
from redis.asyncio import Redis
from yarl import URL

from proxy.app.assembly import assemble
from proxy.errors import ConfigurationError
from proxy.security.key_ring import new_key
from proxy.settings import load
from proxy.simulators.desk.server import Desk
from tests.support.rig import CLIENT_SECRET, settings_tree

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with Desk(client_id="proxy", client_secret=CLIENT_SECRET, event_secret="") as desk:
        yield desk


@pytest.fixture
def tree(desk: Desk, redis_url: str, tmp_path: Path) -> dict[str, Any]:
    tree = settings_tree(
        desk=desk.url, witboost="http://127.0.0.1:9", redis_url=redis_url, folder=tmp_path
    )
    tree["encryption"] = {"keys": [{"id": "one", "key": new_key()}], "index_key": new_key()}
    tree["ticket_systems"]["desk"]["auth"] |= {
        "grant": "refresh_token",
        "authorization_url": f"{desk.url}/oauth/authorize",
        "scope": "tickets offline_access",
    }
    return tree


@dataclass
class Terminal:
    """The command at work; what it has printed so far."""

    process: asyncio.subprocess.Process
    shown: list[str] = field(default_factory=list)

    async def until(self, wanted: Callable[[str], bool]) -> str:
        """Return the next line that is wanted."""
        assert self.process.stdout is not None
        while line := (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode():
            self.shown.append(line)
            if wanted(line.strip()):
                return line.strip()
        raise AssertionError(f"never said: {self.shown}")

    async def end(self) -> int:
        """Return its exit code."""
        assert self.process.stdout is not None
        self.shown.append((await asyncio.wait_for(self.process.stdout.read(), 30)).decode())
        return await asyncio.wait_for(self.process.wait(), 30)


Login = Callable[..., Any]


@pytest.fixture
def login(tmp_path: Path) -> Login:
    """Start the command under settings."""

    @asynccontextmanager
    async def start(
        tree: dict[str, Any], *options: str, system: str = "desk"
    ) -> AsyncIterator[Terminal]:
        config = tmp_path / "approval-proxy.yaml"
        config.write_text(yaml.safe_dump(tree))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "login", system, "--config", str(config), *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
        )
        try:
            yield Terminal(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start


def _is_url(line: str) -> bool:
    return line.startswith("http")


async def _serves(tree: dict[str, Any], folder: Path) -> None:
    """Call the desk as a service does, with a token of the login."""
    config = folder / "serving.yaml"
    config.write_text(yaml.safe_dump(tree))
    async with assemble(load(config, {})) as program:
        await program.systems["desk"].ping()


async def test_a_login_in_a_browser_lets_the_service_in(
    tree: dict[str, Any], login: Login, redis: Redis, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="approval-proxy login desk"):
        await _serves(tree, tmp_path)

    async with login(tree, "--no-browser") as terminal, aiohttp.ClientSession() as browser:
        url = await terminal.until(_is_url)
        async with browser.get(url) as page:
            text = await page.text()
        assert await terminal.end() == 0

    assert page.status == 200
    assert "You may close this window" in text
    assert "is stored, encrypted" in "".join(terminal.shown)
    for _ in range(3):  # each start renews with the token of the one before
        await _serves(tree, tmp_path)
        async for name in redis.scan_iter(f"{tree['store']['namespace']}:token:*"):
            await redis.delete(name)
    client: Any = redis
    lines = await client.xrange(f"{{{tree['store']['namespace']}:logins}}:audit")
    noted = [orjson.loads(line[b""]) for _, line in lines]
    assert [it["event"] for it in noted] == ["LoggedIn", *["RefreshTokenRotated"] * 3]
    assert {it["system"] for it in noted} == {"desk"}
    assert noted[0]["by"].startswith(f"user {os.getuid()} on ")


async def test_a_login_can_be_carried_over_by_hand(
    tree: dict[str, Any], login: Login, tmp_path: Path
) -> None:
    async with login(tree, "--paste") as terminal, aiohttp.ClientSession() as browser:
        url = await terminal.until(_is_url)
        async with browser.get(url, allow_redirects=False) as page:
            landed = page.headers["Location"]
        assert terminal.process.stdin is not None
        terminal.process.stdin.write(f"{landed}\n".encode())
        await terminal.process.stdin.drain()
        assert await terminal.end() == 0

    await _serves(tree, tmp_path)


async def test_beside_a_running_service_its_own_store_is_used(
    tree: dict[str, Any], login: Login, tmp_path: Path
) -> None:
    tree["store"] = {"folder": str(tmp_path / "store"), "fsync": "everysec"}
    del tree["encryption"]
    config = tmp_path / "serving.yaml"
    config.write_text(yaml.safe_dump(tree))
    async with assemble(load(config, {})) as program:
        with pytest.raises(ConfigurationError, match="nobody has logged in"):
            await program.systems["desk"].ping()
        async with login(tree, "--no-browser") as terminal, aiohttp.ClientSession() as browser:
            async with browser.get(await terminal.until(_is_url)):
                pass
            assert await terminal.end() == 0

    await _serves(tree, tmp_path)  # after a restart as well


@pytest.mark.parametrize(
    ("scope", "refuses"), [("tickets", ""), ("tickets offline_access", "access_denied")]
)
async def test_a_login_that_gives_nothing_says_why(
    scope: str, refuses: str, tree: dict[str, Any], login: Login, desk: Desk
) -> None:
    says = refuses or "offline_access"
    tree["ticket_systems"]["desk"]["auth"]["scope"] = scope
    desk.authorization.refuse_login = refuses

    async with login(tree, "--no-browser") as terminal, aiohttp.ClientSession() as browser:
        url = await terminal.until(_is_url)
        async with browser.get(url) as page:
            text = await page.text()
        assert await terminal.end() == 1

    assert page.status == 400
    assert says in text
    assert says in "".join(terminal.shown)
    assert CLIENT_SECRET not in "".join(terminal.shown)


@pytest.mark.parametrize(
    ("system", "auth", "says"),
    [
        ("desks", {}, "no ticket system is named 'desks'"),
        ("desk", {"grant": "client_credentials", "authorization_url": None}, "a login is needed"),
        ("desk", {"authorization_url": None}, "authorization_url"),
    ],
)
async def test_where_nobody_can_log_in_it_says_so(
    system: str, auth: dict[str, Any], says: str, tree: dict[str, Any], login: Login
) -> None:
    tree["ticket_systems"]["desk"]["auth"] |= auth

    async with login(tree, "--no-browser", system=system) as terminal:
        assert await terminal.end() == 1

    assert says in "".join(terminal.shown)


async def test_a_login_is_bound_to_the_key_of_its_tokens(
    tree: dict[str, Any], login: Login
) -> None:
    """Whoever reads the code on its way cannot redeem it (RFC 9449 10)."""
    key = ECKey.generate_key("P-256")
    pem = key.as_pem(private=True).decode()
    tree["ticket_systems"]["desk"]["auth"]["dpop_key"] = {"key": pem}
    async with login(tree, "--paste") as terminal:
        url = URL(await terminal.until(_is_url))
    assert url.query["dpop_jkt"] == key.thumbprint()
