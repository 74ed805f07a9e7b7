"""`approval-proxy serve`: run the program until a signal stops it."""

import os
from pathlib import Path

import click

from proxy.app.serving import Role, run
from proxy.cli.options import config_option
from proxy.settings import load


@click.command()
@config_option
@click.option(
    "--role",
    type=click.Choice(("all", "web", "worker")),
    default="all",
    help="The part that this process runs; separate web and worker processes need store.redis_url.",
)
def serve(config: Path | None, role: Role) -> int:
    """Run the proxy until SIGTERM; logs are JSON lines on standard error."""
    run(load(config, os.environ), role)
    return 0
