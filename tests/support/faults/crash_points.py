"""Crash the program at every I/O step of a request's life, restart it, and judge what came of it.

The ticket system and witboost live in the test's process and the store in a server of its own: only
the program dies, is stopped, or freezes. Time passes only while nothing is under way, so a lease of
a minute costs no time. The verdict is drawn from the journals of ticket system and witboost.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.demo.verdict import Verdict, judge
from proxy.simulators.credentials import ServiceAccount
from proxy.simulators.witboost import Witboost
from proxy.store.client import scripts
from proxy.store.client.connections import connect
from proxy.store.client.pipeline import Script
from proxy.store.requests import RequestStore
from tests.support.faults.flows import FLOWS, Operates
from tests.support.faults.io_steps import Crash
from tests.support.faults.life import Life, Play
from tests.support.faults.nursery import Nursery
from tests.support.faults.shared_clock import SharedClock
from tests.support.faults.ticket_systems import SITES, Site
from tests.support.invariants import check_store
from tests.support.rig import API_KEY, settings_tree

ACCESS_TOKEN: Final = "wbat-for-tests"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one life: where it crashed, what is wrong, the steps of the last child.

    `tickets` counts those that there were at the first crash. `declared` says that the second
    ticket is the declared exception: frozen between the last check and the sending of a create.
    """

    play: Play
    crashes: Sequence[Crash]
    ended_at: Sequence[str]
    problems: Sequence[str]
    steps: Sequence[str]
    tickets: int
    declared: bool


async def live(
    nursery: Nursery, redis_url: str, play: Play, crashes: Sequence[Crash] = ()
) -> Outcome:
    """Play one life, crashed at these points, and judge it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ap-")))
        clock = SharedClock(folder / "clock")
        stack.callback(clock.close)
        site = SITES[play.system](clock)
        account = ServiceAccount(ACCESS_TOKEN, clock)
        witboost = Witboost(api_key=API_KEY, check=account, adopt_unknown_hooks=True, clock=clock)
        await stack.enter_async_context(site.simulator)
        await stack.enter_async_context(witboost)
        tree = _settings(play, site, witboost, redis_url, folder)
        (folder / "settings.yaml").write_bytes(orjson.dumps(tree))
        client = await stack.enter_async_context(connect(redis_url))
        named = {key: tree["store"][key] for key in ("namespace", "partitions")}
        store = RequestStore(client, **named)
        stack.push_async_callback(store.batcher.close)
        for script in vars(scripts).values():
            if isinstance(script, Script):  # else the first life on a server ends at NOSCRIPT
                await client.script_load(script.source)
        life = Life(nursery, play, crashes, site, witboost, folder, store)
        try:
            await life.live()
        finally:
            await life.close()
        outcome = _judged(life)
        if not play.without:
            await check_store(store)
        names = [name async for name in client.scan_iter(match=f"*{named['namespace']}*")]
        await client.unlink(*names)
        return outcome


def _settings(
    play: Play, site: Site, witboost: Witboost, redis_url: str, folder: Path
) -> dict[str, Any]:
    flow = FLOWS[play.flow]
    _ = [site.simulator.switch_on(fault) for fault in flow.at_system]
    _ = [witboost.switch_on(fault) for fault in flow.at_witboost]
    tree = settings_tree(
        desk=site.simulator.url, witboost=witboost.url, redis_url=redis_url, folder=folder
    )
    tree["witboost"]["main"]["credential"] = {
        "kind": "access_token",
        "url": witboost.url,
        "access_token": ACCESS_TOKEN,
    }
    tree["ticket_systems"]["desk"] = site.declare()
    tree["routes"][0] |= flow.route
    return tree


def _judged(life: Life) -> Outcome:
    expected = {life.hook_id: life.flow.expected}
    verdict = judge(life.site.journal(life.correlation_id), life.witboost.journal.entries, expected)
    problems = [*life.problems, *verdict.problems, *_said_too_early(life, verdict)]
    doubled = [it for it in problems if "2 tickets instead of 1" in it]
    declared = bool(doubled) and _is_declared(life)
    if declared:
        problems = [it for it in problems if it not in doubled]
    return Outcome(
        life.play,
        life.crashes,
        life.ended_at,
        problems,
        life.steps,
        life.tickets,
        declared,
    )


def _said_too_early(life: Life, verdict: Verdict) -> Iterator[str]:
    """Yield what was said without the word of those who decide, or to somebody else."""
    for row in verdict.rows:
        if row.status == "OK" and row.tickets and row.decision != "approved":
            yield f"OK, though the ticket was {row.decision or 'never decided'}"
    for act in life.flow.people:
        if isinstance(act, Operates) and act.needed and act.action not in life.operated:
            yield f"ended without an operator's {act.action}"
    told = {it["hook"] for it in life.witboost.journal.of("callback")}
    if told - {life.hook_id}:
        yield f"called back at {told - {life.hook_id}}"


def _is_declared(life: Life) -> bool:
    """Whether the program was frozen exactly between its last check and the sending of a create."""
    return any(
        crash.manner == "freeze" and crash.moment == "sending" and label in life.site.creates
        for crash, label in zip(life.crashes, life.ended_at, strict=False)
    )
