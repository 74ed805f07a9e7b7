"""`approval-proxy check`: validate the settings, and call the systems that they name."""

import os
from pathlib import Path

import click

from proxy.cli.options import config_option
from proxy.cli.output import print_table
from proxy.settings import explain, load


@click.command()
@config_option
@click.option("--live", is_flag=True, help="Call every ticket system and witboost instance now.")
@click.option("--json", "as_json", is_flag=True, help="With --live: print JSON.")
def check(config: Path | None, *, live: bool, as_json: bool) -> int:
    """Validate the settings, and print each value with its origin; secrets are masked.

    With --live, call every ticket system and witboost instance instead, and print the cause of each
    failure: DNS, TLS, endpoint, client, scope or API permission. No ticket is created.
    """
    if as_json and not live:
        raise click.UsageError("--json is the format of --live: add --live, or omit --json.")
    settings = load(config, os.environ)
    if live:
        from proxy.cli.live.report import check_live  # noqa: PLC0415 - needs every client library

        return check_live(settings, as_json=as_json)
    print_table(explain(settings), header=("setting", "value", "origin"))
    return 0
