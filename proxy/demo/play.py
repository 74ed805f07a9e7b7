"""Plays the demo from its first scene to its verdict, and stops every process at the end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

import aiohttp

from proxy.demo.report import Report
from proxy.demo.scenes import SCENES, Play, Scene
from proxy.demo.stage import Stage, open_stage
from proxy.demo.system_kinds import SYSTEM_KINDS, SystemKind
from proxy.demo.timeline import Output, Timeline
from proxy.demo.verdict import Expected, judge
from proxy.errors import ConfigurationError

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as in shells: 128 plus the number of SIGINT."""

_LONGEST: Final = 50.0
"""Seconds for all scenes together; with start and stop the demo takes less than a minute."""
_LOOK: Final = 1.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run(
    folder: Path,
    *,
    keep: bool,
    out: TextIO | None = None,
    scenes: Sequence[Scene] = SCENES,
    kind: SystemKind = SYSTEM_KINDS["rest"],
) -> int:
    """Play the scenes and return the exit code: 0 only if every request ended as it should.

    Ctrl-C, SIGTERM and the end of the terminal stop every process first.

    Raises:
        ConfigurationError: the folder cannot be used, or a process did not start.
    """
    output = Output(out, os.environ)
    playing = asyncio.create_task(_play(folder, keep, output, scenes, kind))
    with _cancelled_by_signals(playing):
        try:
            return await playing
        except asyncio.CancelledError:
            output.write(f"\nInterrupted; everything is stopped. Logs: {folder}")
            return INTERRUPTED


async def _play(
    folder: Path,
    keep: bool,  # noqa: FBT001 - one caller
    output: Output,
    scenes: Sequence[Scene],
    kind: SystemKind,
) -> int:
    report = Report(output)
    requests: dict[str, Scene] = {}
    async with open_stage(folder, kind=kind, adopt_hooks=keep) as stage:
        report.opening(stage)
        timeline = Timeline(output, witboost=stage.witboost, desk=stage.desk)
        played = await _scenes(scenes, stage, timeline, report, requests)
        if not (keep and played):
            await stage.stop()  # so that the journals no longer change
        expected = {key: Expected(status=scene.status) for key, scene in requests.items()}
        evidence = (stage.folder.evidence("desk"), stage.folder.evidence("witboost"))
        good = report.verdict(judge(*evidence, expected), requests, failed=not played)
        if keep and good:
            report.invitation(stage, next(iter(requests)))
            with contextlib.suppress(asyncio.CancelledError):
                await _follow(timeline)
            output.write()
            await stage.stop()
        report.closing(stage.folder.path)
    return 0 if good else 1


async def _scenes(
    scenes: Sequence[Scene],
    stage: Stage,
    timeline: Timeline,
    report: Report,
    requests: dict[str, Scene],
) -> bool:
    """Play one scene after the other; return False as soon as one fails."""
    deadline = asyncio.get_running_loop().time() + _LONGEST
    for number, scene in enumerate(scenes, 1):
        report.heading(number, scene)
        timeline.begin()
        try:
            async with asyncio.timeout_at(deadline):
                await scene.play(Play(stage, timeline, scene, requests))
        except (TimeoutError, aiohttp.ClientError, ConfigurationError) as error:
            with contextlib.suppress(aiohttp.ClientError):
                await timeline.catch_up()
            report.failure(scene, error, stage.folder.log("proxy"))
            return False
    return True


async def _follow(timeline: Timeline) -> None:
    timeline.begin()
    while True:
        await timeline.catch_up(wait=_LOOK)


@contextlib.contextmanager
def _cancelled_by_signals(task: asyncio.Task[int]) -> Iterator[None]:
    """Cancel a task once when a signal arrives; its cleanup is bounded and is not interrupted."""
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        if not task.cancelling():
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, cancel)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
