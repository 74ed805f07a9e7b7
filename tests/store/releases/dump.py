"""Make the dump of a release: one request in every state."""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from proxy.simulators.faults import Fault
from tests.store.releases.stage import Dump, client_of, dumped, stage
from tests.support.manual_clock import ManualClock
from tests.support.rig import GRANT, Rig
from tests.support.servers import start_server

SECOND = 1_000


async def make() -> Dump:
    """Play requests into every state, and return what the store holds then."""
    with tempfile.TemporaryDirectory(prefix="ap-") as name:
        folder = Path(name)
        async with await start_server(folder / "redis") as server:
            async with stage(folder, server.url, ManualClock()) as rig:
                await play(rig)
                tickets = [dict(ticket) for ticket in rig.tickets()]
            async with client_of(server.url) as client:
                return Dump(await dumped(client), tickets)


async def play(rig: Rig) -> None:
    """Leave one request in each state."""
    rig.desk.events.target = None
    await decided(rig, "approved")  # done
    await decided(rig, "approved", by="john.doe@company.com")  # held
    await decided(rig, "approved", domain="hr")  # fulfilling
    rig.witboost.switch_on(Fault("callback", "answer", status=503))
    await decided(rig, "rejected")  # decided
    rig.desk.switch_on(Fault("create", "answer", status=422))
    await rig.ask()  # dead
    await rig.work()
    await rig.ask()  # pending
    await rig.work()
    rig.desk.switch_on(Fault("create", "reset", after_effect=True))
    await rig.ask()  # opening
    await rig.work()
    await rig.ask()  # received


async def decided(rig: Rig, status: str, *, by: str = "olga", **fields: Any) -> None:
    """Have a request decided."""
    await rig.ask({**GRANT, **fields})
    await rig.work()
    rig.desk.decide(rig.tickets()[-1]["id"], status, by=by)
    await rig.work(after=2 * SECOND)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    asyncio.run(make()).write(parser.parse_args().file)
