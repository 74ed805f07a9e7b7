"""`approval-proxy check`: are these settings sound, and what do they amount to?"""

import argparse
import sys

from proxy.cli.options import Subparsers, add_config, settings_of
from proxy.settings import explain


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="validate the settings and print them with the origin of each value",
        description="Validates the settings; prints each with where it came from, secrets masked.",
    )
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the effective settings as a table; raises SettingsError with every problem."""
    rows = [("setting", "value", "origin"), *explain(settings_of(arguments))]
    first = max(len(key) for key, _, _ in rows)
    second = min(max(len(value) for _, value, _ in rows), 60)
    for key, value, origin in rows:
        sys.stdout.write(f"{key:<{first}}  {value:<{second}}  {origin}\n")
    return 0
