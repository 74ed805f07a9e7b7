"""`approval-proxy demo`: the whole path between simulated neighbours, told and judged."""

import argparse
import asyncio
from pathlib import Path

from proxy.cli.options import Subparsers
from proxy.demo.play import run as play
from proxy.demo.system_kinds import SYSTEM_KINDS


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "demo",
        help="play the whole path between a simulated witboost and a simulated ticket system",
        description="Starts the proxy between two simulators on loopback, plays some scenes and "
        "judges them by what the simulators saw; exits with 0 only if all went right.",
    )
    parser.add_argument(
        "--system", choices=tuple(SYSTEM_KINDS), default="rest", help="which one (default: rest)"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave everything running until Ctrl-C, and print the lines to play with it",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("demo-run"),
        metavar="DIR",
        help="where settings, logs and journals are left (default: ./demo-run)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Play the demo; raises ConfigurationError if it cannot be played here."""
    return asyncio.run(
        play(arguments.folder, keep=arguments.keep, kind=SYSTEM_KINDS[arguments.system])
    )
