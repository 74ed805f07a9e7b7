"""The output of the demo except its timelines: opening, table, verdict, commands to try."""

import shlex
import sys
import textwrap
import uuid
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import orjson

from proxy import __version__
from proxy.demo.scenes import Scene
from proxy.demo.stage import Stage
from proxy.demo.timeline import WIDTH, Output, aligned
from proxy.demo.verdict import Row, Verdict

_TAIL: Final = 12
_HEADINGS: Final = ("scene", "request", "ticket", "decision", "status at witboost", "callbacks")


class Report:
    """Writes all output except the timelines."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def opening(self, stage: Stage) -> None:
        """List the processes and the folder."""
        processes = {
            "witboost": (stage.witboost.url, "simulated"),
            "desk": (stage.desk.url, f"{stage.kind.title}, simulated, behind OAuth2"),
            "proxy": (stage.url, "approval-proxy serve, with its embedded store"),
        }
        self._heading(f"Demo of approval-proxy {__version__}: three processes")
        for name, (url, description) in processes.items():
            pid = f"process {stage.children[name].pid}"
            painted = self._out.paint(f"{name:<8}", name)
            self._out.write(f"  {painted}  {url}  {pid:<15}  {description}")
        self._out.write(f"Settings, logs and journals: {stage.folder.path}")

    def heading(self, number: int, scene: Scene) -> None:
        """Begin a scene."""
        self._out.write()
        self._heading(f"{number}. {scene.title}")
        self._paragraph(scene.shows, "   ")

    def failure(self, scene: Scene, error: Exception, log: Path) -> None:
        """Report the error of a scene, with the end of the proxy's log."""
        self._out.write()
        message = str(error).rstrip(".") or type(error).__name__
        self._out.write(self._out.paint(f"This scene failed: {scene.title}", "bad"))
        self._paragraph(f"{message}.", "  ")
        self._out.write(
            f"The end of {log}; the other logs and the journals are in the same folder:"
        )
        lines = log.read_bytes().splitlines() if log.exists() else []
        for line in lines[-_TAIL:]:
            self._paragraph(_readable(line), "  ")

    def verdict(self, verdict: Verdict, scenes: Mapping[str, Scene], *, failed: bool) -> bool:
        """Write the table and the verdict; return True if it is good."""
        self._out.write()
        rows = [self._row(row, scenes) for row in verdict.rows]
        head, rule, *lines = aligned([_HEADINGS, *rows])
        self._heading(head)
        self._out.write(rule)
        for row, line in zip(verdict.rows, lines, strict=True):
            wrong = any(row.correlation_id in problem for problem in verdict.problems)
            self._out.write(self._out.paint(line, "bad") if wrong else line)
        self._out.write()
        for problem in verdict.problems:
            self._paragraph(f"- {problem}", "")
        if verdict.good and not failed:
            result = "each with exactly one ticket and the right final status"
            good = f"Verdict: good. {len(rows)} requests, {result}."
            self._out.write(self._out.paint(good, "good"))
        else:
            count = len(verdict.problems)
            reason = f"{count} problem{'s' * (count != 1)}" if count else "a scene failed"
            self._out.write(self._out.paint(f"Verdict: BAD ({reason}, see above).", "bad"))
        self._out.write("The verdict uses only the journals of desk and witboost.")
        return verdict.good and not failed

    def closing(self, folder: Path) -> None:
        """Report that everything is stopped, and where the files are."""
        self._out.write(f"Everything is stopped. Settings, logs and journals: {folder}")

    def invitation(self, stage: Stage, example: str) -> None:
        """Print commands to try, in a sensible order; `example` is the id of a request."""
        self._out.write()
        self._heading("Everything keeps running until Ctrl-C. Commands to try:")
        self._out.write()
        for line in commands(stage, example).splitlines():
            self._out.write(self._out.paint(line, "faint") if line.startswith("#") else line)
        self._out.write()
        self._out.write("Timeline from now on:")

    def _heading(self, text: str) -> None:
        self._out.write(self._out.paint(text, "heading"))

    def _row(self, row: Row, scenes: Mapping[str, Scene]) -> tuple[str, ...]:
        scene = scenes.get(row.correlation_id)
        return (
            scene.name if scene else "-",
            row.correlation_id,
            ", ".join(row.tickets) or "none",
            row.decision or "none",
            row.status or "none",
            str(row.attempts),
        )

    def _paragraph(self, text: str, indent: str) -> None:
        wrapped = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
        for line in wrapped:
            self._out.write(line)


def commands(stage: Stage, example: str) -> str:
    """Return shell commands with comments.

    The command that approves names the ticket of the command that sends a request.
    """
    created = [entry for entry in stage.desk.entries if entry["kind"] == "created"]
    return Template((files("proxy.demo") / "commands.sh").read_text()).substitute(
        witboost=stage.witboost.url,
        proxy=stage.url,
        control=f"{stage.desk.url}{stage.kind.control}",
        tickets=f"{stage.desk.url}{stage.kind.control}{stage.kind.tickets}",
        decision=f"{stage.desk.url}{stage.kind.decision(stage.kind.key(1 + len(created)))}",
        request_id=uuid.uuid4(),
        example=example,
        hook_key=stage.secrets.hook_key,
        operator_key=stage.secrets.operator_key,
        settings=shlex.quote(str(stage.folder.settings)),
        program=f"{sys.executable} -P -m proxy",
        system=stage.kind.system,
    )


def _readable(line: bytes) -> str:
    """Return a line of the proxy's log as text; a line that is not JSON is returned as it is."""
    try:
        record = orjson.loads(line)
        return f"{record['time'][11:23]} {record['level']}: {record['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line.decode(errors="replace")
