"""The result of `check --live`: a table for people, or JSON for programs."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import click

from proxy.app.offline import open_clients
from proxy.cli.live.checks import Finding, examine
from proxy.cli.live.connect import Result, Step
from proxy.cli.live.probes import probes
from proxy.cli.output import print_json, print_table, progress_bar
from proxy.domain.clock import SystemClock
from proxy.settings import Settings

_TEXTS: Final[Mapping[Result, str]] = {"ok": "ok", "failed": "FAILED", "skipped": "-"}


def check_live(settings: Settings, *, as_json: bool) -> int:
    """Call every system, print the findings, and return 1 if any step failed."""
    findings = asyncio.run(_examine(settings))
    if as_json:
        print_json(_tree(findings))
    else:
        _print(findings)
    return int(any(finding.failed for finding in findings))


async def _examine(settings: Settings) -> list[Finding]:
    async with open_clients(settings) as outgoing:
        pending, findings = list(probes(outgoing)), list[Finding]()
        with progress_bar("check") as report:
            async for finding in examine(pending, now=SystemClock().now()):
                findings.append(finding)
                report(len(findings), len(pending))
        return findings


def _print(findings: Sequence[Finding]) -> None:
    steps = [step for finding in findings for step in finding.steps]
    widest = max((len(_label(step)) for step in steps), default=0)
    for finding in findings:
        click.echo(f"{finding.probe.system}  {_without_query(finding.probe.url)}")
        rows = [
            (
                f"{_TEXTS[step.result]:<6}",
                _label(step).ljust(widest),
                " ".join(step.message.split()),
            )
            for step in finding.steps
        ]
        print_table(rows, indent=2)
        click.echo()
    click.echo(_verdict(steps))


def _label(step: Step) -> str:
    return step.name if step.cause in {"", step.name} else f"{step.name} ({step.cause})"


def _verdict(steps: Sequence[Step]) -> str:
    failed = sum(step.result == "failed" for step in steps)
    skipped = sum(step.result == "skipped" for step in steps)
    if not failed:
        return f"All {len(steps) - skipped} steps succeeded."
    rest = f", {skipped} not tried" if skipped else ""
    return f"{failed} of {len(steps)} steps failed{rest}."


def _tree(findings: Sequence[Finding]) -> Mapping[str, Any]:
    return {
        "ok": not any(finding.failed for finding in findings),
        "steps": [
            {
                "system": finding.probe.system,
                "url": _without_query(finding.probe.url),
                "step": step.name,
                "result": step.result,
                **({"wrong": step.cause} if step.cause else {}),
                "said": step.message,
            }
            for finding in findings
            for step in finding.steps
        ],
    }


def _without_query(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
