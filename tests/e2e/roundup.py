"""Roundup, an issue tracker with a REST API that we did not write."""

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.e2e.environments import python_with

_SERVER: Final = Path(__file__).parent / "roundup_server.py"


def basic(user: str) -> str:
    """Return what proves an account; see `roundup_server.py` for those there are."""
    return f"Basic {base64.b64encode(f'{user}:{user}-password'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class Roundup:
    """One running tracker, asked and changed by a person who decides there."""

    origin: str

    async def issues(self) -> list[Any]:
        """Return every issue."""
        query = {"@verbose": "2", "@fields": "title,status,correlation"}
        async with self._person() as person, person.get("issue", params=query) as answer:
            found: list[Any] = (await answer.json())["data"]["collection"]
            return found

    async def decide(self, issue: str, status: str) -> None:
        """Change an issue's status, as Roundup wants it: only as it was just read."""
        async with self._person() as person:
            async with person.get(f"issue/{issue}") as shown:
                headers = {"If-Match": shown.headers["ETag"]}
            async with person.patch(
                f"issue/{issue}", json={"status": status}, headers=headers
            ) as answer:
                assert answer.status == 200, await answer.text()

    def _person(self) -> aiohttp.ClientSession:
        headers = {
            "Authorization": basic("olga"),
            "Origin": self.origin,
            "X-Requested-With": "rest",
            "Accept": "application/json",
        }
        return aiohttp.ClientSession(f"{self.origin}/rest/data/", headers=headers)


@contextmanager
def roundup() -> Iterator[Roundup]:
    """Start a tracker on a free port; skips the test where it cannot be installed."""
    # -P: this folder has a module of the same name
    command = [python_with("roundup"), "-P", str(_SERVER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            port = child.stdout.readline().decode().strip()
            assert port, "roundup did not start"
            yield Roundup(f"http://127.0.0.1:{port}")
        finally:
            child.stdin.close()
