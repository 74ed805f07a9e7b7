"""`approval-proxy doctor`: do store, audit and ticket systems agree? Above all after a loss."""

import asyncio
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import orjson

from proxy.app.offline import open_for_doctor
from proxy.audit.files import files_in
from proxy.audit.replay import replay
from proxy.cli.commands.audit import examine
from proxy.cli.options import Parsed, config_option
from proxy.cli.output import print_table, progress_bar
from proxy.domain.durations import parse_duration
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.maintenance.findings import Finding
from proxy.settings import Settings, load
from proxy.store.audit_streams import AuditStreams

_TEXTS: Final = {
    "ok": "ok",
    "note": "note",
    "wrong": "WRONG",
    "unknown": "unknown",
    "repaired": "repaired",
}


@click.command()
@click.option(
    "--repair",
    is_flag=True,
    help="Restore what the store lost and the audit has, and rebuild each index that differs from"
    " the records; anything else is only printed.",
)
@click.option(
    "--since",
    type=Parsed(parse_duration, "DURATION"),
    default="7d",
    help="How far back to look for tickets without a request.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one finding a line.")
@config_option
def doctor(config: Path | None, since: int, *, repair: bool, as_json: bool) -> int:
    """Compare the store, the audit's files and the ticket systems, and explain the differences.

    What cannot be known is listed as unknown. The service may run meanwhile.
    """
    settings, findings = load(config, os.environ), list[Finding]()
    try:
        asyncio.run(_examine(settings, findings, repair=repair, since=since))
    finally:
        _print(findings, as_json=as_json)
    counts = Counter[str](finding.result for finding in findings)
    if not as_json:
        click.echo(", ".join(f"{counts[result]} {word}" for result, word in _TEXTS.items()))
    return int(counts["wrong"] > 0)


async def _examine(
    settings: Settings, findings: list[Finding], *, repair: bool, since: int
) -> None:
    """Add every finding to `findings`, which holds some of them even after an error."""
    folder = settings.audit_folder
    report = examine(folder) if folder.is_dir() else None
    async with open_for_doctor(settings, publish=repair) as (store, systems):
        audited = replay(file.lines() for file in files_in(folder))
        with progress_bar("doctor") as report_progress:
            inputs = DoctorInputs(
                store=store,
                streams=AuditStreams(store),
                audited=audited,
                report=report,
                systems=systems,
                since=await store.now() - since,
                retention=settings.store.retention,
            )
            async for finding in Doctor(inputs, repair=repair, progress=report_progress).examine():
                findings.append(finding)  # noqa: PERF401 - those before an error are printed


def _print(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        for finding in findings:
            public = {"result": finding.result, "about": finding.about, "says": finding.message}
            click.echo(orjson.dumps(public).decode())
    else:
        print_table(map(_row, findings))


def _row(finding: Finding) -> tuple[str, str]:
    return f"{_TEXTS[finding.result]:<8}", f"{finding.about}: {finding.message}"
