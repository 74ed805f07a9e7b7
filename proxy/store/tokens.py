"""Tokens in Redis, encrypted for the name of their key; refresh tokens do not expire there."""

import socket
from typing import Any, Final

import orjson
from typing_extensions import override

from proxy.oauth2.shared_tokens import CurrentRefreshToken, RefreshTokens, SharedToken, TokenStore
from proxy.security.key_ring import KeyRing
from proxy.store.client.scripts import TOKENS, TokenArguments
from proxy.store.keys import LOGINS
from proxy.store.requests import RequestStore

_HOST: Final = socket.gethostname()


class RedisTokens(TokenStore, RefreshTokens):
    """Tokens of all processes. Redis compares them encrypted, byte by byte."""

    def __init__(self, store: RequestStore, ring: KeyRing) -> None:
        self.store = store
        self._batcher = store.batcher
        self._keys = store.keys
        self._ring = ring

    # -- access tokens --------------------------------------------------------------------------

    @override
    async def load(self, key: str) -> SharedToken | None:
        name = self._keys.token(key)
        sealed, remaining = await self._run([name], TokenArguments("load"))
        if sealed is None or remaining <= 0:
            return None
        value, lifetime = orjson.loads(self._ring.open(sealed, name=name))
        return SharedToken(value, remaining, lifetime)

    @override
    async def keep(self, key: str, value: str, remaining: int, lifetime: int) -> None:
        if remaining <= 0 or lifetime <= 0:
            return
        name = self._keys.token(key)
        sealed = self._ring.seal(orjson.dumps([value, lifetime]), name=name)
        await self._batcher.command("SET", name, sealed, "PX", remaining)

    @override
    async def drop(self, key: str, value: str) -> None:
        name = self._keys.token(key)
        sealed = await self._batcher.command("GET", name)
        if sealed and orjson.loads(self._ring.open(sealed, name=name))[0] == value:
            await self._run([name], TokenArguments("drop", token=sealed))

    @override
    async def begin(self, key: str, owner: str, within: int) -> bool:
        args = TokenArguments("begin", owner=owner, duration=within)
        return bool(await self._run([self._keys.turn(key)], args))

    @override
    async def end(self, key: str, owner: str) -> None:
        await self._run([self._keys.turn(key)], TokenArguments("end", owner=owner))

    # -- refresh tokens -------------------------------------------------------------------------

    @override
    async def current(self, key: str) -> CurrentRefreshToken | None:
        sealed, value, sent = await self._refresh_token(key)
        return CurrentRefreshToken(value, sent) if sealed else None

    @override
    async def begin_use(self, key: str, owner: str, within: int) -> bool:
        args = TokenArguments("begin", owner=owner, duration=within)
        return bool(await self._run([self._keys.using(key)], args))

    @override
    async def end_use(self, key: str, owner: str) -> None:
        await self._run([self._keys.using(key)], TokenArguments("end", owner=owner))

    @override
    async def sending(self, key: str, token: str, owner: str) -> bool:
        sealed, value, _ = await self._refresh_token(key)
        if not sealed or value != token:
            return False
        keys = [self._keys.refresh(key), self._keys.using(key)]
        return bool(await self._run(keys, TokenArguments("sending", token=sealed, owner=owner)))

    @override
    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        sealed, value, sent = await self._refresh_token(key)
        if sealed and value == new and not sent:
            return True  # a repeat whose first answer was lost
        if not sealed or value != old:
            return False
        entry = b""
        if new != old:
            entry = _entry("RefreshTokenRotated", system, f"approval-proxy on {_HOST}")
        args = TokenArguments(
            action="rotate",
            token=sealed,
            new_token=self._seal(key, new),
            now=self.store.time,
            entry=entry,
        )
        return await self._write(key, args)

    @override
    async def put(self, key: str, token: str, *, system: str, by: str) -> None:
        entry = _entry("LoggedIn", system, f"{by} on {_HOST}")
        sealed = self._seal(key, token)
        args = TokenArguments("put", new_token=sealed, now=self.store.time, entry=entry)
        await self._write(key, args)

    async def _write(self, key: str, args: TokenArguments) -> bool:
        """Change a refresh token, and append the audit's entry in the same step."""
        keys = [self._keys.refresh(key), self._keys.audit_stream(LOGINS)]
        return bool(await self._run(keys, args))

    def _seal(self, key: str, token: str) -> bytes:
        return self._ring.seal(token.encode(), name=self._keys.refresh(key))

    async def _refresh_token(self, key: str) -> tuple[bytes, str, bool]:
        name = self._keys.refresh(key)
        sealed, sent = await self._batcher.command("HMGET", name, "token", "sent")
        if sealed is None:
            return b"", "", False
        return sealed, self._ring.open(sealed, name=name).decode(), sent is not None

    async def _run(self, keys: list[str], args: TokenArguments) -> Any:
        return await self._batcher.script(TOKENS, keys, args)


def _entry(event: str, system: str, by: str) -> bytes:
    return orjson.dumps({"event": event, "by": by, "system": system})
