"""Prism, a proxy that we did not write: it holds both sides of a call to an OpenAPI description.

It answers 422 (or 401) itself to a call that the description forbids, and 500 in place of an
answer that it forbids; `sl-violations` says why. An answer with a status that the description
does not list passes, with that header. Where it is not strict, everything passes, with the header.
"""

import asyncio
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

SPECIFICATIONS = Path(__file__).parent.parent / "specs"
SCRIPT = "@stoplight/prism-cli/dist/index.js"

_LISTENING = re.compile(rb"listening on (http://[\d.]+:\d+)")


@asynccontextmanager
async def prism(
    program: Sequence[str], specification: str, upstream: str, *, strict: bool = True
) -> AsyncIterator[str]:
    """Start it on a free port before `upstream`, and give its URL; what it said is printed."""
    where = ("-h", "127.0.0.1", "-p", "0", "--multiprocess=false")
    described = str(SPECIFICATIONS / specification)
    child = await asyncio.create_subprocess_exec(
        *(*program, "proxy", described, upstream, *where, *(["--errors"] if strict else [])),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
    )
    assert child.stdout is not None
    try:
        yield await _address(child.stdout)
    finally:
        if child.returncode is None:
            child.terminate()
        rest, _ = await child.communicate()
        sys.stdout.write(rest.decode())


async def _address(output: asyncio.StreamReader) -> str:
    said = b""
    async for line in output:
        said += line
        if found := _LISTENING.search(line):
            return found[1].decode()
    raise RuntimeError(f"prism did not start: {said.decode()}")


def violations(headers: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Return what prism found wrong, each with its `location`."""
    named = {name.lower(): value for name, value in headers.items()}
    found: Sequence[Mapping[str, Any]] = orjson.loads(named.get("sl-violations", "[]"))
    return found
