"""What must hold in the store after every step of every test: indices equal records."""

import re
from collections import Counter
from typing import Any

from proxy.domain.models import State
from proxy.store.codec import read_record
from proxy.store.reading import flat
from proxy.store.redis import RedisStore

_KNOWN = re.compile(
    r"(\{[^}]+:\d+\}:(r|p|x|h|s|u|t|c):.+|\{[^}]+:\d+\}:(due|open|audit))"
    r"|.+:(meta|routes|methods|pauses|changes|audit|credentials|refused|signing|seen:.+|(token|turn):\{.+\})"
    r"|\{.+:logins\}:(refresh|using):.+"
)


async def check_store(store: RedisStore) -> None:
    """Compare every index with the records, and every key with the list in `store/keys.py`."""
    client: Any = store.client
    namespace = store.keys.namespace
    names = [name.decode() async for name in client.scan_iter(match=f"*{namespace}:*")]
    names = [name for name in names if name.startswith((f"{namespace}:", f"{{{namespace}:"))]
    unknown = [name for name in names if not _KNOWN.fullmatch(name)]
    assert not unknown, f"keys that store/keys.py does not list: {unknown}"
    for tag in store.keys.tags():
        await _check_partition(store, tag, names)


async def _check_partition(store: RedisStore, tag: str, names: list[str]) -> None:
    client: Any = store.client
    ids = {name.split(":", 3)[3] for name in names if name.startswith(f"{tag}:r:")}
    due = {
        member.decode(): at
        for member, at in await client.zrange(f"{tag}:due", 0, -1, withscores=True)
    }
    opened: Counter[str] = Counter()
    states: dict[str, str] = {}
    for state in State:
        for member in await client.zrange(f"{tag}:s:{state}", 0, -1):
            assert member.decode() not in states, f"{member!r} is in two state indices"
            states[member.decode()] = state
    assert set(states) == ids, "state indices differ from records"
    assert set(due) <= ids, "due names a record that does not exist"
    for found in ids:
        record = read_record(flat(await client.hgetall(f"{tag}:r:{found}")))
        assert states[found] == record.state
        assert store.keys.tag_of(found) == tag
        newest = await client.get(f"{tag}:u:{record.url}")
        assert newest, "no URL entry for a record"
        if not record.final:
            opened[f"{record.instance}/{record.system}"] += 1
            assert newest.decode() == found, "an open request is not the newest of its URL"
        if record.ticket_id:
            assert await client.get(f"{tag}:t:{record.system}:{record.ticket_id}")
        working = record.state not in {State.HELD, State.DEAD, State.DONE}
        assert found in due or not working, f"{found} is {record.state} and never due"
    counts = {
        name.decode(): int(count)
        for name, count in (await client.hgetall(f"{tag}:open")).items()
        if int(count)
    }
    assert counts == dict(opened), "open counts differ from records"
    for kind in ("p", "x", "h"):
        orphans = {n.split(":", 3)[3] for n in names if n.startswith(f"{tag}:{kind}:")} - ids
        assert not orphans, f"{kind} without record: {orphans}"
    for name in names:
        if name.startswith((f"{tag}:t:", f"{tag}:u:")):
            value = await client.get(name)
            assert value.decode() in ids, f"{name} names a request that does not exist"
