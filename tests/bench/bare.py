"""The yardstick: a bare aiohttp handler on uvloop. Prints its port, ends with its parent's pipe."""

import asyncio
import sys

import uvloop
from aiohttp import web


async def answer(_request: web.Request) -> web.Response:
    """Say 202, and nothing else."""
    return web.Response(status=202)


async def main() -> None:
    """Serve until standard input closes."""
    app = web.Application()
    app.router.add_post("/approval-requests", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
