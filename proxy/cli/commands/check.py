"""`approval-proxy check`: are these settings sound, and does what they name answer us?"""

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence

import orjson

from proxy.app.offline import open_clients
from proxy.cli.live import checks
from proxy.cli.live.probes import probes
from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.domain.clock import SystemClock
from proxy.settings import Settings, explain


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="validate the settings and print them with the origin of each value",
        description="Validates the settings; prints each with where it came from, secrets masked."
        " With --live it asks every system that they name instead, and names what is wrong: DNS,"
        " TLS, endpoint, client, scope, API permission. No ticket is opened.",
    )
    add_config(parser)
    parser.add_argument(
        "--live", action="store_true", help="ask every ticket system and witboost instance now"
    )
    parser.add_argument("--json", action="store_true", help="with --live: for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the effective settings as a table; raises SettingsError with every problem.

    With `--live` print what the systems answer, and return 1 if any does not as it must.
    """
    settings = settings_of(arguments)
    if arguments.live:
        return _tell(asyncio.run(_ask(settings)), as_json=arguments.json)
    rows = [("setting", "value", "origin"), *explain(settings)]
    first = max(len(key) for key, _, _ in rows)
    second = min(max(len(value) for _, value, _ in rows), 60)
    for key, value, origin in rows:
        sys.stdout.write(f"{key:<{first}}  {value:<{second}}  {origin}\n")
    return 0


async def _ask(settings: Settings) -> list[checks.Finding]:
    async with open_clients(settings) as outgoing:
        return await checks.examine(list(probes(outgoing)), now=SystemClock().now())


def _tell(findings: Sequence[checks.Finding], *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(orjson.dumps(checks.tree(findings), option=orjson.OPT_INDENT_2).decode())
        sys.stdout.write("\n")
    else:
        wide = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        sys.stdout.writelines(f"{line}\n" for line in checks.table(findings, wide))
    return int(any(finding.failed for finding in findings))
