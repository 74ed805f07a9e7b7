"""One token for all processes, and refresh tokens that no crash uses twice, by SIGKILL.

The authorization server notices a second use of a refresh token, and then ends the login.
"""

import asyncio
import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import pytest
from aiohttp import web
from redis.asyncio import Redis

from proxy.security.key_ring import KeyRing
from proxy.store.requests import RequestStore
from proxy.store.tokens import RedisTokens
from tests.oauth2.child import HOUR
from tests.support.systems import serving

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "a" * 40
PROCESSES: Final = 3
Death = Literal["", "before", "after"]
_FATES: Final[tuple[Death, ...]] = ("before", "after", *("",) * 10)
_LATER: Final = 0.1


@dataclass
class Child:
    """A process that gets tokens."""

    process: asyncio.subprocess.Process

    async def wants(self, tasks: int) -> list[str]:
        """Let so many tasks want the token of the next hour; return what they got, or nothing.

        Nothing is the answer of a process that was killed.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(b"%d\n" % tasks)
        await stdin.drain()
        line = await asyncio.wait_for(stdout.readline(), 30)
        return list(orjson.loads(line)) if line else []

    async def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@dataclass
class Server:
    """Issues tokens; `death` kills who asks, before or after its refresh token is used up."""

    good: str | None = "r0"
    asked: int = 0
    used: int = 0
    death: Death = ""
    _killed: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer a token request."""
        self.asked += 1
        form = await request.post()
        if self.death == "before":
            return self._kill(form)
        given = str(form.get("refresh_token", ""))
        answer: dict[str, Any] = {"access_token": f"a{self.asked}", "token_type": "Bearer"}
        if given:
            if given != self.good:
                self.good = None  # all that came of this login ends (RFC 9700 4.14.2)
                return web.json_response({"error": "invalid_grant"}, status=400)
            self.used += 1
            self.good = answer["refresh_token"] = f"{given.partition('.')[0]}.{self.used}"
        if self.death == "after":
            return self._kill(form)
        return web.json_response(answer | {"expires_in": HOUR // 1_000})

    async def killed_while(self, wanting: asyncio.Future[Any]) -> int:
        """Return the process that was killed, 0 if all got what they wanted before that."""
        killed = asyncio.create_task(self._killed.get())
        await asyncio.wait({killed, wanting}, return_when=asyncio.FIRST_COMPLETED)
        if killed.done():
            return killed.result()
        killed.cancel()
        self.death = ""
        return 0

    def _kill(self, form: Any) -> web.Response:
        self.death = ""
        pid = int(str(form["pid"]))
        os.kill(pid, signal.SIGKILL)
        self._killed.put_nowait(pid)
        return web.Response(status=503)


@dataclass
class World:
    """The server, the store, and processes between them."""

    server: Server
    tokens: RedisTokens
    order: dict[str, Any]
    stack: AsyncExitStack

    async def child(self) -> Child:
        """Start a process."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.oauth2.child", orjson.dumps(self.order).decode()),
            stdin=pipe,
            stdout=pipe,
            cwd=ROOT,
        )
        self.stack.push_async_callback(_ended, process)
        return Child(process)

    async def turns_pass(self) -> None:
        """Let the minute pass that a dead process's turns last."""
        store = self.tokens.store
        for name in (store.keys.turn(KEY), store.keys.using(KEY)):
            await store.client.delete(name)


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 10)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def world(redis: Redis, redis_url: str, **order: Any) -> AsyncIterator[World]:
    """Start the server; somebody has logged in."""
    server = Server()
    namespace = f"t{secrets.token_hex(6)}"
    store = RequestStore(redis, namespace=namespace, partitions=1)
    tokens = RedisTokens(store, KeyRing([("one", bytes(32))]))
    await tokens.put(KEY, "r0", system="desk", by="olga")
    async with serving(server.token) as system, AsyncExitStack() as stack:
        token_url = f"{system.origin}/token"
        given = {"redis_url": redis_url, "namespace": namespace, "token_url": token_url}
        yield World(server, tokens, {**given, "key": KEY, **order}, stack)
    await store.batcher.close()


@pytest.mark.parametrize(
    ("kind", "requests"), [("sound", 1), ("unsynchronised", PROCESSES)], ids=["sound", "control"]
)
@pytest.mark.parametrize("grant", ["client_credentials"])
async def test_at_the_moment_of_expiry_three_processes_ask_once(
    redis: Redis, redis_url: str, kind: str, grant: str, requests: int
) -> None:
    async with world(redis, redis_url, kind=kind, grant=grant) as it:
        children = [await it.child() for _ in range(PROCESSES)]
        for hour in (1, 2, 3):  # the first has no token yet; each other one ends the former token
            got = await asyncio.gather(*[child.wants(200) for child in children])

            assert it.server.asked == hour * requests
            if kind == "sound":
                assert got == [[f"Bearer a{hour}"]] * PROCESSES


@dataclass
class Count:
    """What happened in a run of refreshes."""

    kills: int = 0
    in_the_window: int = 0
    logins: int = 0
    reasons: set[str] = field(default_factory=set)


async def _run(it: World, dice: random.Random, *, refreshes: int) -> Count:
    """Let all want the token of each hour at once; whenever the login is over, a person logs in.

    Now and then the one that asks is killed, before or after its refresh token is used up, or
    another one later.
    """
    count = Count()
    children = [await it.child() for _ in range(PROCESSES)]
    while it.server.used < refreshes:
        fate = it.server.death = dice.choice(_FATES)
        wanting = asyncio.gather(*[child.wants(1) for child in children])
        pid = await it.server.killed_while(wanting)
        victim = next((child for child in children if child.process.pid == pid), None)
        if victim is not None:
            count.in_the_window += fate == "after"
            await victim.process.wait()
            await it.turns_pass()
        got = [answer for answers in await wanting for answer in answers]
        if victim is None and dice.random() < _LATER:
            victim = dice.choice(children)
            await victim.kill()
            await it.turns_pass()
        if victim is not None:
            count.kills += 1
            children[children.index(victim)] = await it.child()
        if over := {answer for answer in got if not answer.startswith("Bearer")}:
            count.logins += 1
            count.reasons |= over
            it.server.good = f"login{count.logins}"
            await it.tokens.put(KEY, it.server.good, system="desk", by="olga")
    return count


@pytest.mark.parametrize(("kind", "refreshes"), [("sound", 100), ("storing late", 30)])
async def test_killed_processes_lock_nobody_out_but_in_the_one_window(
    redis: Redis, redis_url: str, kind: str, refreshes: int
) -> None:
    """The window: the server rotated, and its answer is not stored (`proxy.oauth2.refresh_grant`).

    The control stores a rotated token only before its next use, and so is locked out far more.
    """
    seed = 20_261_124
    async with world(redis, redis_url, kind=kind, grant="refresh_token") as it:
        count = await _run(it, random.Random(seed), refreshes=refreshes)

    if kind == "sound":
        assert count.kills > count.in_the_window > 0
        assert count.logins == count.in_the_window
        assert all("run approval-proxy login desk" in reason for reason in count.reasons)
        assert all("answer to that never arrived" in reason for reason in count.reasons)
    else:
        assert count.logins > count.in_the_window
