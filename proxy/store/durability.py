"""Checks that a Redis server's configuration does not lose requests."""

from typing import Any

from redis.asyncio import Redis

from proxy.errors import StoreUnavailableError
from proxy.store.client.cluster import Cluster
from proxy.store.client.pipeline import translate


async def durability_problems(client: Redis | Cluster) -> list[str]:
    """Return each setting of a Redis server that can lose requests, as one sentence.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    try:
        settings: dict[Any, Any] = {}
        for pattern in ("maxmemory-policy", "appendonly", "appendfsync", "save"):
            settings |= await client.config_get(pattern)
    except Exception as error:  # managed servers forbid CONFIG in many ways
        if isinstance(silent := translate(error, "CONFIG GET"), StoreUnavailableError):
            raise silent from error
        kind = type(error).__name__
        return [f"Redis does not let us read its configuration ({kind}): check persistence."]
    problems = []
    if (policy := settings.get("maxmemory-policy", "noeviction")) != "noeviction":
        problems.append(
            f"Redis maxmemory-policy is {policy}: it may evict open requests. Set noeviction."
        )
    if settings.get("appendonly") != "yes":
        problems.append("Redis appendonly is off: a restart loses requests. Set appendonly yes.")
    elif settings.get("appendfsync") == "no":
        problems.append("Redis appendfsync is no: set everysec, or always for no loss at all.")
    return problems
