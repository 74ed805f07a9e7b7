"""`approval-proxy doctor`: do store, audit and ticket systems agree? After a loss above all."""

import argparse
import asyncio
import dataclasses
import sys
from collections import Counter
from typing import Final

import orjson

from proxy.app.offline import open_for_doctor
from proxy.audit.files import files_in
from proxy.audit.replay import recall
from proxy.cli.commands.audit import examine
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.domain.durations import parse_duration
from proxy.errors import ConfigurationError
from proxy.maintenance.doctor import Doctor, DoctorInputs
from proxy.maintenance.findings import Finding
from proxy.settings import Settings
from proxy.store.audit_streams import AuditStreams

_WORDS: Final = {
    "ok": "ok",
    "note": "note",
    "wrong": "WRONG",
    "unknown": "unknown",
    "repaired": "repaired",
}


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="compare store, audit and ticket systems, after a loss above all",
        description="Compares what the store, the audit's files and the ticket systems know of the"
        " same requests, and explains what differs. What nobody can know is listed as unknown."
        " It may run beside the service.",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help="write back what the audit knows and the store lost, and make each index again that"
        " differs from the records; the rest is only printed",
    )
    parser.add_argument(
        "--since",
        default="7d",
        metavar="DURATION",
        help="how far back tickets are listed that no request knows (default: 7d)",
    )
    parser.add_argument("--json", action="store_true", help="for programs: one finding a line")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 if anything is wrong and was not repaired."""
    try:
        since = parse_duration(arguments.since)
    except ValueError as error:
        raise ConfigurationError(f"--since: {error}") from error
    settings = settings_of(arguments)
    counts = asyncio.run(
        _examine(settings, repair=arguments.repair, since=since, as_json=arguments.json)
    )
    if not arguments.json:
        told = ", ".join(f"{counts[result]} {word}" for result, word in _WORDS.items())
        sys.stdout.write(f"{told}\n")
    return int(counts["wrong"] > 0)


async def _examine(settings: Settings, *, repair: bool, since: int, as_json: bool) -> Counter[str]:
    folder, counts = settings.audit_folder, Counter[str]()
    async with open_for_doctor(settings, publish=repair) as (store, systems):
        doctor = Doctor(
            DoctorInputs(
                store=store,
                streams=AuditStreams(store),
                remembered=recall(file.lines() for file in files_in(folder)),
                report=examine(folder) if folder.is_dir() else None,
                systems=systems,
                since=await store.now() - since,
                retention=settings.store.retention,
            ),
            repair=repair,
        )
        async for finding in doctor.examine():
            counts[finding.result] += 1
            _print(finding, as_json=as_json)
    return counts


def _print(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        line = orjson.dumps(dataclasses.asdict(finding)).decode()
    else:
        line = f"{_WORDS[finding.result]:<8}  {finding.about}: {finding.says}"
    sys.stdout.write(f"{line}\n")
