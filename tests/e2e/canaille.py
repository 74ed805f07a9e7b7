"""Canaille, a second authorization server that we did not write, in an environment of its own.

Its pins would not go together with ours. The environment is made once, from hashed locks.
"""

import fcntl
import json
import os
import subprocess
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

_FOLDER: Final = Path(__file__).parent
_LOCK: Final = _FOLDER / "canaille.lock"
_ENVIRONMENT: Final = _FOLDER / ".canaille"
_INSTALL: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


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


def canaille_python() -> str:
    """Return the interpreter that has canaille.

    Skips the test where it cannot be installed, but never in continuous integration.
    """
    python = _ENVIRONMENT / "bin" / "python"
    done = _ENVIRONMENT / "installed"
    with _LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes of one test run install only once
        if not done.exists() or done.stat().st_mtime < _LOCK.stat().st_mtime:
            venv.create(_ENVIRONMENT, clear=True, with_pip=True)
            installing = subprocess.run(
                [python, *_INSTALL, "--require-hashes", "-r", _LOCK],
                capture_output=True,
                timeout=300,
                check=False,
            )
            if installing.returncode:
                said = f"canaille cannot be installed: {installing.stderr.decode()[-500:]}"
                if os.environ.get("CI") == "true":
                    pytest.fail(said)
                pytest.skip(said)
            done.touch()
    return str(python)


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
