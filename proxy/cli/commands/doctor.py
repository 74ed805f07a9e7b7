"""`approval-proxy doctor`: do store, audit and ticket systems agree? Above all after a loss."""

import asyncio
import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import Final

import click
import orjson

from proxy.app.offline import open_for_doctor
from proxy.audit.files import files_in
from proxy.audit.replay import recall
from proxy.cli.commands.audit import examine
from proxy.cli.options import Parsed, config_option
from proxy.cli.output import print_table, progress_bar
from proxy.domain.durations import parse_duration
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.maintenance.findings import Finding
from proxy.settings import Settings, load
from proxy.store.audit_streams import AuditStreams

_WORDS: Final = {
    "ok": "ok",
    "note": "note",
    "wrong": "WRONG",
    "unknown": "unknown",
    "repaired": "repaired",
}


@click.command(
    help="Compare the store, the audit's files and the ticket systems, and explain the differences."
    "\n\nWhat cannot be known is listed as unknown. The service may run meanwhile."
)
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
    show_default=True,
    help="How far back to look for tickets without a request.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one finding a line.")
@config_option
def doctor(config: Path | None, since: int, *, repair: bool, as_json: bool) -> int:
    """Print every finding; 1 if anything is wrong and was not repaired."""
    settings = load(config, os.environ)
    counts = asyncio.run(_examine(settings, repair=repair, since=since, as_json=as_json))
    if not as_json:
        click.echo(", ".join(f"{counts[result]} {word}" for result, word in _WORDS.items()))
    return int(counts["wrong"] > 0)


async def _examine(settings: Settings, *, repair: bool, since: int, as_json: bool) -> Counter[str]:
    folder, counts = settings.audit_folder, Counter[str]()
    report = examine(folder) if folder.is_dir() else None
    async with open_for_doctor(settings, publish=repair) as (store, systems):
        audited = recall(file.lines() for file in files_in(folder))
        with progress_bar("doctor") as report_progress:
            inputs = DoctorInputs(
                store=store,
                streams=AuditStreams(store),
                remembered=audited,
                report=report,
                systems=systems,
                since=await store.now() - since,
                retention=settings.store.retention,
            )
            async for finding in Doctor(inputs, repair=repair, progress=report_progress).examine():
                counts[finding.result] += 1
                _print(finding, as_json=as_json)
    return counts


def _print(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(dataclasses.asdict(finding)).decode())
    else:
        print_table([(f"{_WORDS[finding.result]:<8}", f"{finding.about}: {finding.says}")])
