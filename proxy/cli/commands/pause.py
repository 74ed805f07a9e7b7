"""`approval-proxy pause` and `resume`: a ticket system, or the callbacks of a witboost instance."""

import argparse
import sys
from collections.abc import Callable
from typing import Final

from proxy.cli.options import Subparsers
from proxy.cli.output import one_line
from proxy.cli.program import add_program, program_of

_SAYS: Final = {
    "pause": "stop using a ticket system, or calling back a witboost instance: requests wait",
    "resume": "use it again, whatever paused it",
}


def add(subparsers: Subparsers) -> None:
    """Register both commands."""
    for action, says in _SAYS.items():
        parser = subparsers.add_parser(action, help=says, description=f"{says.capitalize()}.")
        parser.add_argument("name", help="the ticket system or instance, as in the settings")
        parser.add_argument("--reason", required=True, help="why; shown wherever it is paused")
        add_program(parser)
        parser.set_defaults(run=_runs(action))


def _runs(action: str) -> Callable[[argparse.Namespace], int]:
    """Return what does it, and prints everything that is paused then."""

    def run(arguments: argparse.Namespace) -> int:
        body = {"reason": arguments.reason}
        answer = program_of(arguments).destination(arguments.name, action, body)
        for each in answer["paused"]:
            words = (each["destination"], "is paused", f"({each['cause']}):", each["reason"])
            sys.stdout.write(one_line(" ".join(words)) + "\n")
        if not answer["paused"]:
            sys.stdout.write("nothing is paused\n")
        return 0

    return run
