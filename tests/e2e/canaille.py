"""Canaille, a second authorization server that we did not write, in an environment of its own.

Its pins would not go together with ours.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Canaille:
    """One running server."""

    issuer: str

    async def introspect(self, token: str, client_id: str, secret: str) -> Mapping[str, Any]:
        """Return what the server says of a token (RFC 7662), asked without our own client."""
        proof = {"Authorization": aiohttp.encode_basic_auth(client_id, secret)}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.issuer}/oauth/introspect", data={"token": token}, headers=proof
            ) as answer,
        ):
            found: Mapping[str, Any] = await answer.json()
            return found


@contextmanager
def canaille(
    python: str, *, clients: Sequence[Mapping[str, Any]], server_key: Mapping[str, Any], user: str
) -> Iterator[Canaille]:
    """Start it on a free port; `clients` are as its models have them, `server_key` is a JWK."""
    given = json.dumps({"clients": clients, "server_key": server_key, "user": user})
    # -P: this folder has a module of the same name
    command = [python, "-P", str(_FOLDER / "canaille_server.py"), given]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            port = child.stdout.readline().decode().strip()
            assert port, "canaille did not start"
            yield Canaille(f"http://127.0.0.1:{port}")
        finally:
            child.stdin.close()
