"""`approval-proxy try`: one ticket marked TEST, through the running program, until it is decided.

A first experiment of a new user, and later a canary: it shows that the program creates tickets in a
system and reads the decision, and which callback witboost would get. It gives nobody any access.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import orjson

from proxy.cli.client import Connect, OperatorApi, api_options
from proxy.cli.options import FILE, Parsed
from proxy.cli.output import one_line
from proxy.cli.sample import read_fields
from proxy.domain.durations import parse_duration
from proxy.domain.events.notifications import TicketNotified
from proxy.errors import PermanentError

_POLL_INTERVAL: Final = 1.0  # seconds
_SENTENCES: Final = {
    "received": "The ticket is about to be created.",
    "opening": "The ticket system is asked whether the ticket was created.",
    "pending": "Ticket {ticketKey} is open: {ticketUrl}\nDecide it there; this command waits"
    " (Ctrl-C ends the trial and withdraws the ticket).",
    "decided": "The decision: {decision}{by}.",
    "fulfilling": "The decision: {decision}{by}. Now the access is awaited.",
    "done": "The decision: {decision}{by}.",
    "held": "The request is held: {reason}",
    "dead": "The request was given up: {reason}",
}
_ENDED: Final = frozenset({"done", "held", "dead"})
_FIELDS: Final = ("ticketKey", "ticketUrl", "decision", "decidedBy", "reason")


@click.command("try")
@click.option("--system", required=True, help="The ticket system, as in the settings.")
@click.option(
    "--request",
    type=FILE,
    help="A hook call, or only its `fields`, to be shown in the ticket.",
)
@click.option(
    "--within",
    type=Parsed(parse_duration, "DURATION"),
    help="Wait for a decision no longer than this, such as 10m; then withdraw the ticket and exit"
    " with 1 (default: wait).",
)
@api_options
def try_(system: str, request: Path | None, within: int | None, connect: Connect) -> int:
    """Open one ticket marked TEST through the running program, wait until a person decides it, show
    the callback that witboost would get, and withdraw the ticket.
    """
    return run(connect(), system, request, within=within)


def run(
    api: OperatorApi,
    system: str,
    sample: Path | None,
    *,
    within: int | None,
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """Wait for the decision and print the callback; 0 for success, 1 if a person must look.

    Raises:
        ProxyError: the program, or the file, cannot be used.
    """
    fields = read_fields(sample) if sample else {}
    request = api.post("trials", body={"system": system, "fields": fields})
    correlation_id, late = request["correlationId"], False
    click.echo(f"Trial {correlation_id} of {system}.")
    try:
        request = _follow(api, request, pause, within=within)
        late = request["status"] not in _ENDED
        reason = "nobody decided the trial in time"
    except KeyboardInterrupt:
        reason = "the trial was interrupted"
    if request["status"] not in _ENDED:
        with contextlib.suppress(PermanentError):  # decided at the last moment, it ends by itself
            api.post("requests", correlation_id, "cancel", body={"reason": reason})
        request = _follow(api, api.get("requests", correlation_id), pause)
    if request["status"] != "done":
        click.echo(f"Look at it: approval-proxy requests show {correlation_id}")
        return 1
    callback = orjson.dumps(request["callback"], option=orjson.OPT_INDENT_2).decode()
    click.echo(f"witboost would get:\n{callback}")
    click.echo(f"The ticket: {_ticket_note(request)}.")
    return int(late)


def _follow(
    api: OperatorApi,
    request: Mapping[str, Any],
    pause: Callable[[float], object],
    *,
    within: int | None = None,
) -> Mapping[str, Any]:
    """Print each change until the ticket is notified of the end, or a person must look.

    It also ends after `within` milliseconds.
    """
    last, waited = "", 0.0
    while True:
        state = request["status"]
        if (sentence := _sentence(request)) != last:
            click.echo(sentence)
        last = sentence
        if state in {"held", "dead"} or (state == "done" and _ticket_note(request)):
            return request
        if within is not None and waited * 1_000 >= within and state not in _ENDED:
            return request
        pause(_POLL_INTERVAL)
        waited += _POLL_INTERVAL
        request = api.get("requests", request["correlationId"])


def _ticket_note(request: Mapping[str, Any]) -> str:
    """Return the ticket's state after the end, or an empty text before it was notified."""
    notices = [line for line in request["history"] if line["event"] == TicketNotified.event_code]
    if notices:
        return one_line(notices[-1]["note"])
    return "" if request.get("ticketKey") else "none was created"


def _sentence(request: Mapping[str, Any]) -> str:
    values = {name: one_line(request.get(name, "?")) for name in _FIELDS}
    by = f", by {values['decidedBy']}" if "decidedBy" in request else ""
    return _SENTENCES[request["status"]].format(**values, by=by)
