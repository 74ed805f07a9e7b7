"""Frozen routes by their hash, and the callback method that each witboost instance accepts."""

from proxy.store.requests import RequestStore


class RouteStore:
    """The routes under which requests were admitted; they are written once and never change."""

    def __init__(self, store: RequestStore) -> None:
        self._call = store.batcher.command
        self._key = store.keys.shared("routes")

    async def remember_route(self, digest: str, route: bytes) -> None:
        """Store a frozen route under its hash; storing it again changes nothing."""
        await self._call("HSETNX", self._key, digest, route)

    async def route(self, digest: str) -> bytes | None:
        """Return a frozen route, or None if there is none."""
        route: bytes | None = await self._call("HGET", self._key, digest)
        return route


class CallbackMethods:
    """The HTTP methods that instances accepted, under the settings with this fingerprint."""

    def __init__(self, store: RequestStore, fingerprint: str) -> None:
        self._call = store.batcher.command
        self._key = store.keys.shared("methods")
        self._fingerprint = fingerprint

    async def get_callback_method(self, instance: str) -> str | None:
        """Return the method that an instance accepted before, if any."""
        method = await self._call("HGET", self._key, f"{instance}:{self._fingerprint}")
        return method.decode() if method else None

    async def set_callback_method(self, instance: str, method: str) -> None:
        """Remember the method that an instance accepted."""
        await self._call("HSET", self._key, f"{instance}:{self._fingerprint}", method)
