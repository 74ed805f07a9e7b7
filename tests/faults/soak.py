"""The long run: `python -m tests.faults.soak` (`make soak`), 10,000 requests with faults on.

Prints counts and the seed; the exit status says whether anything was lost, doubled or wrong.
"""

import argparse
import asyncio
import logging
import random
import sys
import tempfile
from pathlib import Path

from tests.faults.many import ROOM, Crowd, Figures, roomy_desk
from tests.invariants import check_store
from tests.manual_clock import ManualClock
from tests.rig import open_rig
from tests.servers import start_server


async def soak(count: int, seed: int) -> Figures:
    """Play so many requests on a server of their own, and check its store."""
    with tempfile.TemporaryDirectory(prefix="ap-") as name:
        folder = Path(name)
        async with (
            await start_server(folder / "redis", fsync="everysec") as server,
            open_rig(
                folder,
                server.url,
                ManualClock(),
                desk={"seed": seed},
                witboost={"seed": seed},
                declare=roomy_desk,
                worker=dict(ROOM),
            ) as rig,
        ):
            figures = await Crowd(rig, seed).play(count)
            await check_store(rig.program.store)
    return figures


def main() -> int:
    """Read the arguments, soak, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    figures = asyncio.run(soak(arguments.requests, arguments.seed))
    print("\n".join(figures.lines()))  # noqa: T201 - the point of the script
    whole = figures.requests == arguments.requests
    return 0 if whole and not figures.lost and not figures.problems else 1


if __name__ == "__main__":
    sys.exit(main())
