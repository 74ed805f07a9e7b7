"""What a person reads of a demo besides its timelines: beginning, table, verdict, what to try."""

import shlex
import sys
import textwrap
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from proxy import __version__
from proxy.demo.scenes import Scene
from proxy.demo.stage import Stage
from proxy.demo.timeline import WIDTH, Page, aligned
from proxy.demo.verdict import Row, Verdict

_TAIL: Final = 12
_HEADINGS: Final = ("scene", "request", "ticket", "decision", "status at witboost", "attempts")


class Report:
    """Writes everything but the timelines."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def opening(self, stage: Stage) -> None:
        """Say what runs, where, and what will be left behind."""
        about = {"witboost": stage.witboost.url, "desk": stage.desk.url, "proxy": stage.url}
        what = {
            "witboost": "simulated",
            "desk": f"{stage.cast.title}, simulated, behind OAuth2",
            "proxy": "approval-proxy serve, with its embedded store",
        }
        version = f"approval-proxy {__version__}"
        self._page.write(self._page.paint(f"Demo of {version}: three processes", "heading"))
        for name, url in about.items():
            pid = f"process {stage.children[name].pid}"
            painted = self._page.paint(f"{name:<8}", name)
            self._page.write(f"  {painted}  {url}  {pid:<15}  {what[name]}")
        self._page.write(f"Settings, logs and journals: {stage.folder.path}")

    def heading(self, number: int, scene: Scene) -> None:
        """Begin a scene."""
        self._page.write()
        self._page.write(self._page.paint(f"{number}. {scene.title}", "heading"))
        self._paragraph(scene.shows, "   ")

    def failure(self, scene: Scene, error: Exception, log: Path) -> None:
        """Say in which scene what went wrong, and what the proxy logged last."""
        self._page.write()
        said = str(error).rstrip(".") or type(error).__name__
        self._page.write(self._page.paint(f"This scene failed: {scene.title}", "bad"))
        self._paragraph(f"{said}.", "  ")
        self._page.write(f"The end of {log}; the other logs and the journals are beside it:")
        lines = log.read_bytes().splitlines() if log.exists() else []
        for line in lines[-_TAIL:]:
            self._paragraph(_readable(line), "  ")

    def verdict(self, verdict: Verdict, scenes: Mapping[str, Scene], *, failed: bool) -> bool:
        """Write the table and one line of judgement; returns whether everything is right."""
        self._page.write()
        rows = [self._row(row, scenes) for row in verdict.rows]
        head, rule, *lines = aligned([_HEADINGS, *rows])
        self._page.write(self._page.paint(head, "heading"))
        self._page.write(rule)
        for row, line in zip(verdict.rows, lines, strict=True):
            wrong = any(row.correlation_id in problem for problem in verdict.problems)
            self._page.write(self._page.paint(line, "bad") if wrong else line)
        self._page.write()
        for problem in verdict.problems:
            self._paragraph(f"- {problem}", "")
        if verdict.good and not failed:
            said = (
                f"Verdict: good. {len(rows)} requests, each with exactly one ticket and the right"
                " final status."
            )
            self._page.write(self._page.paint(said, "good"))
        else:
            count = len(verdict.problems)
            what = f"{count} problem{'s' * (count != 1)}" if count else "a scene failed"
            self._page.write(self._page.paint(f"Verdict: BAD ({what}, see above).", "bad"))
        self._page.write("It rests on the journals of desk and witboost alone.")
        return verdict.good and not failed

    def closing(self, folder: Path) -> None:
        """Say that nothing runs any more, and what is left."""
        self._page.write(f"Everything is stopped. Settings, logs and journals: {folder}")

    def invitation(self, stage: Stage, example: str) -> None:
        """Print lines to copy, in the order in which they make sense; `example` is a request."""
        self._page.write()
        heading = "Everything keeps running until Ctrl-C. Lines to copy:"
        self._page.write(self._page.paint(heading, "heading"))
        for comment, command in commands(stage, example):
            self._page.write()
            self._page.write(self._page.paint(f"# {comment}", "faint"))
            self._page.write(command)
        self._page.write()
        self._page.write(
            self._page.paint("# or with its own commands, in another terminal", "faint")
        )
        for line in own_commands(stage):
            self._page.write(line)
        self._page.write()
        self._page.write(
            self._page.paint("# or in a browser: the console, and the key to sign in with", "faint")
        )
        self._page.write(f"{stage.url}/console/")
        self._page.write(stage.secrets.operator_key)
        self._page.write()
        self._page.write("What happens from now on:")

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
            self._page.write(line)


def commands(stage: Stage, example: str) -> list[tuple[str, str]]:
    """Return what a person may try: a comment and a shell command each.

    The command that approves names the ticket of the command that asks.
    """
    cast, known = stage.cast, [it for it in stage.desk.entries if it["kind"] == "created"]
    new = cast.key(1 + len(known))
    desk, witboost, proxy = stage.desk.url, stage.witboost.url, stage.url
    hook, json = f"{witboost}/api/actionHandler/by-hand", "-H 'Content-Type: application/json'"
    fields = '"fields": {"identities": ["john.doe_company.com"], "verb": "grant"}'
    key = f"-H 'X-API-Key: {stage.secrets.hook_key}'"
    operator = f"-H 'X-API-Key: {stage.secrets.operator_key}'"
    lines = {
        "witboost sends a request, and waits for its final status": (
            f"{witboost}/requests {json}",
            f"-d '{{{fields}}}'",
        ),
        "the tickets at the desk": (f"{desk}{cast.control}{cast.tickets}",),
        "somebody at the desk approves (or rejects) the new one": (
            f"{desk}{cast.decision(new)} {json}",
            """-d '{"decision": "approved", "by": "you", "comment": "fine"}'""",
        ),
        "a hook call by hand": (
            f"{proxy}/approval-requests {json}",
            f"-H 'X-Request-ID: {uuid.uuid4()}' \\\n  {key}",
            f"""-d '{{"respondToUrl": "{hook}",\n       {fields}}}'""",
        ),
        "where a request stands: what the client that sent it may see": (
            f"{proxy}/approval-requests/{example}",
            key,
        ),
        "all requests: what an operator may see": (f"{proxy}/api/requests", operator),
        "is it ready, and if not, why": (f"{proxy}/readyz",),
        "its metrics": (f"{proxy}/metrics",),
        "let the desk go down for ten seconds; then send a request": (
            f"{desk}{cast.control}/outage {json} -d '{{\"seconds\": 10}}'",
        ),
    }
    return [
        (comment, "curl -sSw '\\n' " + " \\\n  ".join(words)) for comment, words in lines.items()
    ]


def own_commands(stage: Stage) -> list[str]:
    """Return how a person asks this program through its own command line."""
    program = f"{sys.executable} -P -m proxy"
    return [
        f"export APPROVAL_PROXY_CONFIG={shlex.quote(str(stage.folder.settings))}",
        f"export APPROVAL_PROXY_KEY={stage.secrets.operator_key}",
        f"{program} try --system {stage.cast.system}",
        f"{program} requests list",
        f"{program} check --live",
    ]


def _readable(line: bytes) -> str:
    """Return a line of the proxy's log as a person reads it; one that is no JSON as it is."""
    try:
        told = orjson.loads(line)
        return f"{told['time'][11:23]} {told['level']}: {told['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line.decode(errors="replace")
