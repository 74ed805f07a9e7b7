"""The README's picture is the program's, and its first request works as it is written there."""

import asyncio
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.lifecycle import BACK, LATE, TRANSITIONS
from proxy.domain.models import State
from tests.support.pages import ROOT, Page
from tests.support.waiting import wait_until

README = Page.read(ROOT / "README.md")
NAMED = {"active": ACTIVE, "parked": PARKED, **{str(state): (state,) for state in State}}
FIRST = Page(README.path, README.section("Your first request"))


def drawn(text: str) -> set[tuple[State, State]]:
    """Every arrow of the diagram, groups taken apart."""
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", text, re.DOTALL)
    assert diagram is not None
    arrows = re.findall(r"^\s*(\w+) --> (\w+)", diagram[1], re.MULTILINE)
    return {
        (source, target)
        for left, right in arrows
        for source in NAMED[left]
        for target in NAMED[right]
    }


def tabled() -> set[tuple[State, State]]:
    """Every change of state in the table of transitions."""
    found = set()
    for row in TRANSITIONS.values():
        for source, target in row.items():
            targets = ACTIVE if target == BACK else () if target == LATE else (State(target),)
            found |= {(source, each) for each in targets if each is not source}
    return found


def test_the_diagram_shows_exactly_the_transitions() -> None:
    assert drawn(README.text) == tabled()


@pytest.mark.parametrize("arrow", ["received --> opening: intent stored", "held --> dead"])
def test_a_missing_arrow_is_found(arrow: str) -> None:
    assert drawn(README.text.replace(arrow, "")) != tabled()


class Reader:
    """Does what the section says, in a folder, with ports that are free here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: free_port() for port in ("8080", "8081", "8082")}
        self.keys: dict[str, str] = {}
        self.running: list[asyncio.subprocess.Process] = []
        self.environment: dict[str, str] = dict(os.environ)

    def ours(self, text: str) -> str:
        """Return a text of the page with our ports."""
        for theirs, port in self.ports.items():
            text = re.sub(rf"(localhost:|--port ){theirs}\b", rf"\g<1>{port}", text)
        return text

    async def run(self, line: str, **more: str) -> str:
        """Run a line in a shell, and return what it prints; it must succeed."""
        bash = await self._start(line, stdout=asyncio.subprocess.PIPE, env=self.environment | more)
        printed, _ = await asyncio.wait_for(bash.communicate(), 60)
        assert bash.returncode == 0, line
        return printed.decode()

    async def start(self, line: str) -> None:
        """Start what a line leaves running."""
        line = f"exec {line.removesuffix('&')}"
        with (self.folder / "running.log").open("ab") as log:
            program = await self._start(line, stdout=log, stderr=log, env=self.environment)
        self.running.append(program)

    async def _start(self, line: str, **how: Any) -> asyncio.subprocess.Process:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        how["env"] = how["env"] | {"PATH": path}
        return await asyncio.create_subprocess_exec("bash", "-c", line, cwd=self.folder, **how)

    async def stop(self) -> None:
        """End everything, the proxy first."""
        for program in reversed(self.running):
            program.terminate()
            await asyncio.wait_for(program.wait(), 30)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def lines_of(block: str) -> list[str]:
    """Return the commands of a block, comments left out."""
    return [line for line in re.sub(r"\\\n|\n(?=\s)", " ", block).splitlines() if line.strip()]


async def test_the_first_request_works_as_it_is_written(tmp_path: Path) -> None:
    new_keys, start, ask, approve = FIRST.blocks("sh")[:4]
    settings, _of_witboost = FIRST.blocks("yaml")
    reader = Reader(tmp_path)
    try:
        for line, hashed in zip(
            lines_of(new_keys), re.findall("sha256:[0-9a-f]+", settings), strict=True
        ):
            printed = await reader.run(line)
            settings = settings.replace(hashed, re.findall("sha256:[0-9a-f]+", printed)[0])
            reader.keys[line.split()[-1]] = re.findall(r"^ap_\S+", printed, re.MULTILINE)[0]
        port = reader.ports["8080"]
        text = f"{reader.ours(settings)}\nlisten: {{port: {port}}}\n"
        (tmp_path / "approval-proxy.yaml").write_text(text)
        await follow(reader, start)
        await wait_until(lambda: answers(f"http://localhost:{port}/readyz"), within=60)
        accepted = await reader.run(reader.ours(ask).replace("ap_...", reader.keys["witboost"]))
        assert json.loads(accepted)["hookInfo"]["status"] == "accepted"

        lines = lines_of(reader.ours(approve).replace("ap_...", reader.keys["alice"]))
        look, decide, hooks, listing = lines
        desk, witboost = (f"http://localhost:{reader.ports[it]}" for it in ("8081", "8082"))
        await wait_until(lambda: holds(f"{desk}/desk/tickets", '"key":"DESK-1"'), within=60)
        assert "grant access for user:john.doe_company.com" in await reader.run(look)
        await reader.run(decide)
        await wait_until(lambda: holds(f"{witboost}/hooks", '"status":"OK"'), within=60)
        assert '"status":"OK"' in await reader.run(hooks)
        listed = await reader.run(listing, APPROVAL_PROXY_URL=f"http://localhost:{port}")
        assert "done" in listed
    finally:
        await reader.stop()


async def follow(reader: Reader, block: str) -> None:
    """Run the lines that start everything."""
    for line in lines_of(reader.ours(block)):
        command = line.partition("  #")[0].strip()
        if command.startswith("export "):
            reader.environment |= dict(it.split("=") for it in command.split()[1:])
        elif command.endswith("&"):
            await reader.start(command)
        else:
            await reader.run(command)


async def answers(url: str) -> bool:
    return await holds(url, "")


async def holds(url: str, text: str) -> bool:
    """Return whether a page is there, and holds a text."""
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200 and text in await answer.text()
    except aiohttp.ClientError:
        return False
