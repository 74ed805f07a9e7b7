"""`approval-proxy try`: one ticket marked TEST, through the running program, until it is decided.

The first fifteen minutes of a new user, and later a canary: it shows that the program opens tickets
in a system, reads the decision, and what it would tell witboost; nobody gets any access by it.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from proxy.cli.client import OperatorApi
from proxy.cli.options import Subparsers
from proxy.cli.output import one_line
from proxy.cli.program import add_program, program_of
from proxy.cli.sample import fields_in
from proxy.domain.durations import parse_duration
from proxy.errors import PermanentError

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
_ENDED: Final = frozenset({"done", "held", "dead"})
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
        "--request",
        type=Path,
        metavar="FILE",
        help="a hook call, or only its `fields`, which the ticket shows",
    )
    parser.add_argument(
        "--within",
        type=_duration,
        metavar="DURATION",
        help="wait for a decision no longer than this, such as 10m; then the ticket is withdrawn,"
        " and the exit code is 1 (default: wait)",
    )
    add_program(parser)
    parser.set_defaults(run=run)


def _duration(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(arguments: argparse.Namespace, *, pause: Callable[[float], object] = time.sleep) -> int:
    """Wait for the decision and print the callback; 0 if all went right, 1 if a person must look.

    Raises:
        ProxyError: the program, or the file, cannot be used.
    """
    api = program_of(arguments)
    fields = fields_in(arguments.request) if arguments.request else {}
    request = api.open_trial({"system": arguments.system, "fields": fields})
    name, late = request["correlationId"], False
    _say(f"Trial {name} of {arguments.system}.")
    try:
        request = _follow(api, request, pause, within=arguments.within)
        late = request["status"] not in _ENDED
        end = "nobody decided the trial in time"
    except KeyboardInterrupt:
        end = "the trial was broken off"
    if request["status"] not in _ENDED:
        with contextlib.suppress(PermanentError):  # decided at the last moment, it ends by itself
            api.post(name, "cancel", body={"reason": end})
        request = _follow(api, api.get(name), pause)
    if request["status"] != "done":
        _say(f"Look at it: approval-proxy requests show {name}")
        return 1
    callback = orjson.dumps(request["callback"], option=orjson.OPT_INDENT_2).decode()
    _say(f"witboost would get:\n{callback}")
    _say(f"The ticket: {_told(request)}.")
    return int(late)


def _follow(
    api: OperatorApi,
    request: Mapping[str, Any],
    pause: Callable[[float], object],
    *,
    within: int | None = None,
) -> Mapping[str, Any]:
    """Tell each change until the ticket has heard of the end, or a person must look.

    It ends after `within` milliseconds too.
    """
    shown, waited = "", 0.0
    while True:
        state = request["status"]
        if (sentence := _sentence(request)) != shown:
            _say(sentence)
        shown = sentence
        if state in {"held", "dead"} or (state == "done" and _told(request)):
            return request
        if within is not None and waited * 1_000 >= within and state not in _ENDED:
            return request
        pause(_EVERY)
        waited += _EVERY
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


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
