"""Real servers for tests, of both kinds that the program can embed."""

import shutil
from pathlib import Path
from typing import Literal

import pytest

from proxy.store.embedded.server import EmbeddedServer, Fsync

ServerKind = Literal["embedded", "redis-server"]


async def start_server(
    folder: Path, kind: ServerKind = "embedded", *, fsync: Fsync = "always"
) -> EmbeddedServer:
    """Start a server in this folder; skip the test where that kind is not installed.

    "embedded" is what the program takes by itself, "redis-server" is the one found on PATH.
    The caller closes it, best with `async with`.
    """
    if kind == "embedded":
        return await EmbeddedServer.start(folder, fsync=fsync)
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on PATH (Debian: apt install redis-server)")
    return await EmbeddedServer.start(folder, fsync=fsync, program=Path(program))
