"""`approval-proxy demo`: the whole path between simulated systems, shown and judged."""

import asyncio
from pathlib import Path

import click

from proxy.cli.options import FILE
from proxy.demo.play import run
from proxy.demo.system_kinds import SYSTEM_KINDS


@click.command()
@click.option(
    "--system",
    type=click.Choice(tuple(SYSTEM_KINDS)),
    default="rest",
    help="The kind of ticket system.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running until Ctrl-C, and print commands to try with it.",
)
@click.option(
    "--folder",
    type=FILE,
    default=Path("demo-run"),
    metavar="DIR",
    help="The folder for settings, logs and journals.",
)
def demo(system: str, folder: Path, *, keep: bool) -> int:
    """Start the proxy between a simulated witboost and a simulated ticket system on loopback, play
    some scenes, and judge them by what the simulators recorded.

    The exit code is 0 only if every scene ended as it must.
    """
    return asyncio.run(run(folder, keep=keep, kind=SYSTEM_KINDS[system]))
