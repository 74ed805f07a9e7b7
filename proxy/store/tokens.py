"""Tokens in Redis, encrypted and bound to their key; refresh tokens never expire there."""

import socket
from typing import Any, Final

import orjson
from typing_extensions import override

from proxy.oauth2.shared_tokens import CurrentRefreshToken, RefreshTokens, SharedToken, TokenStore
from proxy.security.key_ring import KeyRing
from proxy.store.client.scripts import load_script
from proxy.store.keys import LOGINS
from proxy.store.requests import RequestStore

_TOKENS: Final = load_script("tokens")
_HOST: Final = socket.gethostname()


class RedisTokens(TokenStore, RefreshTokens):
    """Compare-and-set is on sealed bytes: what was read is opened here and compared in Redis."""

    def __init__(self, store: RequestStore, ring: KeyRing) -> None:
        self.store = store
        self._batcher = store.batcher
        self._keys = store.keys
        self._ring = ring

    # -- access tokens --------------------------------------------------------------------------

    @override
    async def load(self, key: str) -> SharedToken | None:
        place = self._keys.token(key)
        sealed, remaining = await self._run([place], "load")
        if sealed is None or remaining <= 0:
            return None
        value, lifetime = orjson.loads(self._ring.open(sealed, name=place))
        return SharedToken(value, remaining, lifetime)

    @override
    async def keep(self, key: str, value: str, remaining: int, lifetime: int) -> None:
        if remaining <= 0 or lifetime <= 0:
            return
        place = self._keys.token(key)
        sealed = self._ring.seal(orjson.dumps([value, lifetime]), name=place)
        await self._batcher.command("SET", place, sealed, "PX", remaining)

    @override
    async def drop(self, key: str, value: str) -> None:
        place = self._keys.token(key)
        sealed = await self._batcher.command("GET", place)
        if sealed and orjson.loads(self._ring.open(sealed, name=place))[0] == value:
            await self._run([place], "drop", sealed)

    @override
    async def begin(self, key: str, owner: str, within: int) -> bool:
        return bool(await self._run([self._keys.turn(key)], "begin", owner, within))

    @override
    async def end(self, key: str, owner: str) -> None:
        await self._run([self._keys.turn(key)], "end", owner)

    # -- refresh tokens -------------------------------------------------------------------------

    @override
    async def current(self, key: str) -> CurrentRefreshToken | None:
        sealed, value, sent = await self._refresh_token(key)
        return CurrentRefreshToken(value, sent) if sealed else None

    @override
    async def begin_use(self, key: str, owner: str, within: int) -> bool:
        return bool(await self._run([self._keys.using(key)], "begin", owner, within))

    @override
    async def end_use(self, key: str, owner: str) -> None:
        await self._run([self._keys.using(key)], "end", owner)

    @override
    async def sending(self, key: str, token: str, owner: str) -> bool:
        sealed, value, _ = await self._refresh_token(key)
        if not sealed or value != token:
            return False
        places = [self._keys.refresh(key), self._keys.using(key)]
        return bool(await self._run(places, "sending", sealed, owner))

    @override
    async def rotate(self, key: str, old: str, new: str, *, system: str) -> bool:
        sealed, value, sent = await self._refresh_token(key)
        if sealed and value == new and not sent:
            return True  # a repeat whose first answer was lost
        if not sealed or value != old:
            return False
        noted = b""
        if new != old:
            noted = _entry("RefreshTokenRotated", system, f"approval-proxy on {_HOST}")
        return await self._write(key, noted, "rotate", sealed, self._seal(key, new))

    @override
    async def put(self, key: str, token: str, *, system: str, by: str) -> None:
        noted = _entry("LoggedIn", system, f"{by} on {_HOST}")
        await self._write(key, noted, "put", self._seal(key, token))

    async def _write(self, key: str, noted: bytes, *words: Any) -> bool:
        """Change a refresh token, and note that in the audit in the same step."""
        places = [self._keys.refresh(key), self._keys.beside(LOGINS)]
        return bool(await self._run(places, *words, self.store.time, noted))

    async def _refresh_token(self, key: str) -> tuple[bytes, str, bool]:
        place = self._keys.refresh(key)
        sealed, sent = await self._batcher.command("HMGET", place, "token", "sent")
        if sealed is None:
            return b"", "", False
        return sealed, self._ring.open(sealed, name=place).decode(), sent is not None

    def _seal(self, key: str, token: str) -> bytes:
        return self._ring.seal(token.encode(), name=self._keys.refresh(key))

    async def _run(self, places: list[str], *words: Any) -> Any:
        return await self._batcher.script(_TOKENS, places, list(words))


def _entry(event: str, system: str, by: str) -> bytes:
    return orjson.dumps({"event": event, "by": by, "system": system})
