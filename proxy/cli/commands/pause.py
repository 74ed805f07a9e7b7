"""`approval-proxy pause` and `resume`: a ticket system, or the callbacks of a witboost instance."""

from typing import Any, Final

import click

from proxy.cli.client import Connect, api_options
from proxy.cli.output import one_line

_ARGUMENTS: Final = (
    click.argument("name", help="The ticket system or witboost instance, as in the settings."),
    click.option("--reason", required=True, help="Why; shown wherever the pause is."),
)


def _command(action: str, summary: str) -> click.Command:
    @api_options
    def run(name: str, reason: str, connect: Connect) -> int:
        path = ("destinations", name, action)
        paused: list[dict[str, Any]] = connect().post(*path, body={"reason": reason})["paused"]
        for pause in paused:
            text = f"{pause['destination']} is paused ({pause['cause']}): {pause['reason']}"
            click.echo(one_line(text))
        if not paused:
            click.echo("nothing is paused")
        return 0

    for decorate in reversed(_ARGUMENTS):
        run = decorate(run)
    return click.command(action, help=summary)(run)


pause = _command(
    "pause",
    "Stop calling a ticket system, or the callbacks of a witboost instance. Requests wait.",
)
resume = _command(
    "resume",
    "Call a ticket system or witboost instance again, whatever paused it.",
)
