"""`approval-proxy try`: one ticket marked TEST, through the running program, until it is decided.

The first fifteen minutes of a new user, and later a canary: it shows that the program opens tickets
in a system, reads the decision, and what it would tell witboost; nobody gets any access by it.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.cli.operator_api import OperatorApi
from proxy.cli.options import Subparsers
from proxy.cli.program import add_program, program_of
from proxy.cli.requests import one_line
from proxy.errors import ConfigurationError

_EVERY: Final = 1.0  # seconds between two looks
_SAYS: Final = {
    "received": "The ticket is about to be opened.",
    "opening": "Whether the ticket was opened is being looked up.",
    "pending": "Ticket {ticketKey} is open: {ticketUrl}\nDecide it there; this waits"
    " (Ctrl-C ends the trial and withdraws the ticket).",
    "decided": "The decision: {decision}{by}.",
    "fulfilling": "The decision: {decision}{by}. Now the access is awaited.",
    "done": "The decision: {decision}{by}.",
    "held": "The request is held: {reason}",
    "dead": "The request was given up: {reason}",
}

_WORDS: Final = ("ticketKey", "ticketUrl", "decision", "decidedBy", "reason")


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "try",
        help="open one ticket marked TEST through the running program, and wait for a decision",
        description="Opens one ticket marked TEST through the running program, waits until a person"
        " decides it, shows the callback that witboost would get, and withdraws the ticket.",
    )
    parser.add_argument("--system", required=True, help="the ticket system, as in the settings")
    parser.add_argument(
        "--request", type=Path, metavar="FILE", help="a hook call whose fields the ticket shows"
    )
    add_program(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, *, pause: Callable[[float], object] = time.sleep) -> int:
    """Wait for the decision and print the callback; 0 if all went right, 1 if a person must look.

    Raises:
        ProxyError: the program, or the file, cannot be used.
    """
    api = program_of(arguments)
    fields = _fields(arguments.request) if arguments.request else {}
    request = api.open_trial({"system": arguments.system, "fields": fields})
    _say(f"Trial {request['correlationId']} of {arguments.system}.")
    try:
        request = _follow(api, request, pause)
    except KeyboardInterrupt:
        body = {"reason": "the trial was broken off"}
        request = _follow(api, api.post(request["correlationId"], "cancel", body=body), pause)
    if request["status"] != "done":
        return 1
    callback = orjson.dumps(request["callback"], option=orjson.OPT_INDENT_2).decode()
    _say(f"witboost would get:\n{callback}")
    _say(f"The ticket: {_told(request)}.")
    return 0


def _follow(
    api: OperatorApi, request: Mapping[str, Any], pause: Callable[[float], object]
) -> Mapping[str, Any]:
    """Tell each change until the ticket has heard of the end, or a person must look."""
    shown = ""
    while True:
        state = request["status"]
        if (sentence := _sentence(request)) != shown:
            _say(sentence)
        shown = sentence
        if state in {"held", "dead"} or (state == "done" and _told(request)):
            return request
        pause(_EVERY)
        request = api.get(request["correlationId"])


def _told(request: Mapping[str, Any]) -> str:
    """Return what became of the ticket after the end, if anything yet."""
    ended = [line for line in request["history"] if line["event"] == "Told"]
    if ended:
        return one_line(ended[-1]["note"])
    return "" if request.get("ticketKey") else "none was opened"


def _sentence(request: Mapping[str, Any]) -> str:
    given = {name: one_line(request.get(name, "?")) for name in _WORDS}
    by = f", by {given['decidedBy']}" if "decidedBy" in request else ""
    return _SAYS[request["status"]].format(**given, by=by)


def _fields(file: Path) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(file.read_bytes())["fields"]
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is no hook call: it needs an object `fields`") from error
    if not isinstance(fields, dict):
        raise ConfigurationError(f"{file} is no hook call: `fields` is no object")
    return fields


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
