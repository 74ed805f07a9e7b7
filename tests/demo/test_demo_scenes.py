"""The demo as its user meets it: processes, a verdict that can be bad, and nothing left running."""

import asyncio
import fcntl
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from typing_extensions import override

from proxy.demo.folder import DemoFolder
from proxy.demo.play import INTERRUPTED, run
from proxy.demo.scenes import SCENES, Play
from proxy.demo.system_kinds import SYSTEM_KINDS, SystemKind
from proxy.demo.timeline import WIDTH, Output
from proxy.errors import ConfigurationError
from proxy.settings import load

APPROVED = SCENES[0]


class Screen(io.StringIO):
    """Takes what the demo writes, and can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self._written = asyncio.Event()

    @override
    def write(self, text: str) -> int:
        self._written.set()
        return super().write(text)

    async def shows(self, wanted: str, *, times: int = 1) -> None:
        async with asyncio.timeout(60):
            while self.getvalue().count(wanted) < times:
                self._written.clear()
                await self._written.wait()


async def start_demo(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "demo", "--folder", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "APPROVAL_PROXY__LISTEN__PORT": "1"},  # must not reach the demo's proxy
    )


def running(shown: str) -> list[int]:
    """Return which of the processes that a demo named are still there."""
    pids = [int(pid) for pid in re.findall(r"process (\d+)", shown)]
    assert len(pids) >= 3, shown
    return [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def left_in(folder: Path) -> list[str]:
    return [left.name for left in folder.iterdir()]


def is_free(lock: Path) -> bool:
    with lock.open("rb") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


async def test_the_demo_plays_every_scene_and_leaves_its_folder_and_no_process(
    tmp_path: Path,
) -> None:
    demo = await start_demo(tmp_path / "run")
    output, _ = await asyncio.wait_for(demo.communicate(), 90)

    shown = output.decode()
    lines = shown.splitlines()
    assert demo.returncode == 0, shown
    table = [line.split() for line in lines if re.search(r"  ar[0-9a-f]{28}  ", line)]
    assert [(row[0], *row[-4:]) for row in table] == [
        ("approved", "DESK-1", "approved", "OK", "1"),
        ("rejected", "DESK-2", "rejected", "KO", "1"),
        ("revoke", "DESK-3", "approved", "OK", "1"),
        ("desk", "DESK-4", "approved", "OK", "1"),
        ("killed", "DESK-5", "approved", "OK", "1"),
    ]
    assert any(line.startswith("Verdict: good. 5 requests") for line in lines)
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= WIDTH
    assert "\x1b" not in shown
    assert running(shown) == []
    assert is_free(tmp_path / "run" / "store" / "server.lock")
    settings = load(tmp_path / "run" / "approval-proxy.yaml", {})
    assert f"127.0.0.1:{settings.listen.port}" in shown
    assert left_in(tmp_path) == ["run"]


OTHERS = [kind for name, kind in SYSTEM_KINDS.items() if name != "rest"]
SHORT = [scene for scene in SCENES if scene.name in {"approved", "rejected", "killed"}]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
async def test_every_other_kind_of_ticket_system_plays_the_same_scenes(
    tmp_path: Path, kind: SystemKind
) -> None:
    """By an event, without one, and by a look-up after a crash."""
    screen = Screen()

    async with asyncio.timeout(60):
        code = await run(tmp_path, keep=False, out=screen, scenes=SHORT, kind=kind)

    shown = screen.getvalue()
    assert code == 0, shown
    for number, scene in enumerate(SHORT, 1):
        row = rf"^{scene.name} .*  {re.escape(kind.key(number))}  "
        assert re.search(row, shown, re.MULTILINE)
    assert "Verdict: good. 3 requests" in shown
    assert running(shown) == []


async def test_ctrl_c_ends_every_process_and_a_second_demo_keeps_away(tmp_path: Path) -> None:
    demo = await start_demo(tmp_path)
    assert demo.stdout is not None
    shown = (await asyncio.wait_for(demo.stdout.readuntil(b"1. "), 60)).decode()
    with pytest.raises(ConfigurationError, match=rf"used by another demo \(processes {demo.pid}, "):
        DemoFolder.claim(tmp_path)

    demo.send_signal(signal.SIGINT)
    rest, _ = await asyncio.wait_for(demo.communicate(), 30)

    assert demo.returncode == INTERRUPTED
    assert rest.decode().splitlines()[-1].startswith("Interrupted; everything is stopped.")
    assert running(shown + rest.decode()) == []


async def plant_a_second_ticket(play: Play) -> None:
    """Do what a proxy does that creates again without looking first."""
    await APPROVED.play(play)
    desk = play.stage.desk
    form = {
        "grant_type": "client_credentials",
        "client_id": "approval-proxy",
        "client_secret": play.stage.secrets.client_secret,
    }
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{desk.url}/oauth/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        ticket = {"title": "once more", "correlation_id": next(iter(play.requests))}
        headers = {"Authorization": f"Bearer {token}"}
        async with http.post(f"{desk.url}/api/tickets", json=ticket, headers=headers) as answer:
            assert answer.status == 201


async def test_a_second_ticket_makes_the_verdict_bad(tmp_path: Path) -> None:
    screen = Screen()
    planted = replace(APPROVED, name="planted", play=plant_a_second_ticket)

    code = await run(tmp_path, keep=False, out=screen, scenes=[planted])

    shown = screen.getvalue()
    assert code == 1
    assert re.search(r"^planted .* DESK-1, DESK-2  approved  OK", shown, re.MULTILINE)
    assert re.search(
        r"^- request ar[0-9a-f]{28}: 2 tickets instead of 1 \(DESK-1, DESK-2\)$",
        shown,
        re.MULTILINE,
    )
    assert "Verdict: BAD (1 problem, see above)." in shown


async def test_a_wrong_status_and_a_scene_without_end_are_told_with_the_log(
    tmp_path: Path,
) -> None:
    screen = Screen()
    scenes = [
        replace(APPROVED, name="wrong", status="KO"),
        replace(APPROVED, title="Dead", play=die_and_wait_for_a_status),
    ]

    code = await run(tmp_path, keep=False, out=screen, scenes=scenes)

    shown = screen.getvalue()
    assert code == 1
    assert "status OK instead of KO (the desk: approved)" in shown
    assert "This scene failed: Dead\n" in shown
    assert "has no 'callback' with hook=nobody after 0.1 s." in shown
    assert f"The end of {tmp_path / 'proxy.log'};" in shown
    assert "info: Listening on 127.0.0.1" in shown
    assert running(shown) == []


async def die_and_wait_for_a_status(play: Play) -> None:
    await play.stage.kill_proxy()
    await play.await_entry(play.stage.witboost, "callback", within=0.1, hook="nobody")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines to copy need curl")
async def test_what_keep_prints_can_be_copied_and_is_followed(tmp_path: Path) -> None:
    screen = Screen()
    demo = asyncio.create_task(run(tmp_path, keep=True, out=screen, scenes=[APPROVED]))
    await screen.shows("Timeline from now on:")
    ask, tickets, approve, by_hand, *looks, outage = commands_in(screen.getvalue())

    assert '"status":202' in await shell(ask)
    await screen.shows("reads DESK-2: new")
    assert "DESK-2" in await shell(tickets)
    await shell(approve)
    await screen.shows("calls back: PUT OK; witboost answers 200", times=2)
    assert "accepted" in await shell(by_hand)
    await screen.shows("reads DESK-3: new")
    answers = [await shell(look) for look in looks]
    for answer, known in zip(answers, ("done", "DESK-3", "ready", "HELP"), strict=True):
        assert known in answer
    await shell(outage)
    demo.cancel()

    assert await demo == 0
    assert running(screen.getvalue()) == []


def commands_in(shown: str) -> Sequence[str]:
    return re.findall(r"^curl .+?(?=\n\n)", shown, re.MULTILINE | re.DOTALL)


async def shell(command: str) -> str:
    child = await asyncio.create_subprocess_shell(
        command.replace("curl ", "curl --fail-with-body --max-time 20 ", 1),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, (command, output)
    return output.decode()


def test_a_folder_that_is_not_of_a_demo_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.log"
    precious.write_text("mine")

    with pytest.raises(ConfigurationError, match="not of a demo: name another --folder"):
        DemoFolder.claim(tmp_path)

    assert precious.read_text() == "mine"


def test_what_an_earlier_demo_left_is_removed(tmp_path: Path) -> None:
    first = DemoFolder.claim(tmp_path)
    first.store.mkdir()
    first.journal("desk").write_text("old\n")
    first.release()

    second = DemoFolder.claim(tmp_path)
    second.release()

    assert left_in(tmp_path) == ["demo.lock"]
    assert second.evidence("desk") == []


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "environ", "painted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),  # no-color.org: present and not empty
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    out: io.StringIO, environ: dict[str, str], *, painted: bool
) -> None:
    assert (Output(out, environ).paint("good", "good") != "good") == painted
