"""`approval-proxy requests`: what operators see and do, against a running program."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from proxy.cli.commands.bulk import add_bulk, add_filter, filter_of, run_bulk
from proxy.cli.options import Subparsers
from proxy.cli.output import one_line
from proxy.cli.program import add_program, program_of

_USUAL: Final = 50
_PAGE: Final = 200  # the API's longest

_COLUMNS: Final = {
    "correlationId": "request",
    "status": "status",
    "code": "why",
    "decision": "decision",
    "ticketKey": "ticket",
    "system": "system",
    "instance": "instance",
    "admittedAt": "admitted",
}
_SECTIONS: Final = {
    "Where it stands": ("status", "code", "reason", "whatToDo", "returnsTo", "attempts", "missing"),
    "Ticket": ("system", "ticketKey", "ticketId", "ticketUrl", "nativeStatus", "sentAt", "reads"),
    "Decision": ("decision", "decidedBy", "decidedAt", "comment", "evidence", "fulfilment"),
    "witboost": ("instance", "client", "requestId", "callbacks", "callback", "hookCall"),
    "Times": ("admittedAt", "deadlineAt", "fulfilBy", "refusedAt", "finishedAt"),
}


SIMPLE: Final = {
    "release": "accept the approval that a guard holds back, or say that awaited access is there",
    "reject": "decide without the ticket: no; or say that awaited access will not be there",
    "cancel": "end a request that nobody wants any more",
    "refresh": "go on with a request now: read its ticket, send its callback",
    "reroute": "choose the route again, under the settings of now",
}
"""What needs nothing but a reason."""


def add(subparsers: Subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "requests", help="see requests, decide them, and send them back to work"
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = _action(actions, "list", "list requests, newest first", run_list)
    add_filter(listing)
    listing.add_argument("--ticket", metavar="KEY", help="those of this ticket, by its key or id")
    listing.add_argument(
        "--limit", type=_count, default=_USUAL, help=f"how many (default: {_USUAL})"
    )
    show = _action(actions, "show", "show one request with its history", run_show)
    for reading in (listing, show):
        reading.add_argument("--json", action="store_true", help="print what the API answers")
    retry = _action(actions, "retry", "send a held or dead request back to work", run_retry)
    attach = _action(actions, "attach", "tell a request which ticket is its own", run_attach)
    simple = {name: _action(actions, name, what, _runs(name)) for name, what in SIMPLE.items()}
    many = (retry, simple["cancel"])
    for naming in (show, retry, attach, *simple.values()):
        one = naming.add_argument("id", metavar="ID", help="the correlation id of the request")
        one.nargs, one.required = ("?", False) if naming in many else (None, True)
    for each in many:
        add_bulk(each)
    retry.add_argument(
        "--no-ticket-exists",
        action="store_true",
        help="vouch that a create in doubt made no ticket; a second one is then opened",
    )
    attach.add_argument("ticket", metavar="TICKET-KEY", help="the ticket's key or id")
    for acting in (retry, attach, *simple.values()):
        acting.add_argument("--reason", required=True, help="why; it goes into the history")


def _action(actions: Subparsers, name: str, what: str, run: object) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what)
    parser.set_defaults(run=run)
    add_program(parser)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("must be a number from 1 on")
    return int(text)


def run_list(arguments: argparse.Namespace) -> int:
    """Print requests as a table; reads as many pages as the limit needs."""
    api, found = program_of(arguments), list[Mapping[str, Any]]()
    query = filter_of(arguments) | ({"ticket": arguments.ticket} if arguments.ticket else {})
    while (left := arguments.limit - len(found)) > 0:
        page = api.get(query={**query, "limit": str(min(left, _PAGE))})
        found += page["requests"]
        if "next" not in page:
            break
        query["before"] = page["next"]
    if arguments.json:
        _print_json(found)
        return 0
    rows = [tuple(_COLUMNS.values())]
    rows += [tuple(one_line(each.get(name, "-")) for name in _COLUMNS) for each in found]
    sys.stdout.writelines(f"{line}\n" for line in _aligned(rows))
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """Print where a request stands and why, what was asked for, and what happened."""
    request = program_of(arguments).get(arguments.id)
    if arguments.json:
        _print_json(request)
    else:
        sys.stdout.writelines(f"{line}\n" for line in _told(request))
    return 0


def run_retry(arguments: argparse.Namespace) -> int:
    """Send a request back to work and say where it stands then."""
    if arguments.id is None:
        return run_bulk(program_of(arguments), "retry", arguments)
    body = {"reason": arguments.reason, "noTicketExists": arguments.no_ticket_exists}
    return _acted(program_of(arguments).post(arguments.id, "retry", body=body))


def run_attach(arguments: argparse.Namespace) -> int:
    """Give a request its ticket and say where it stands then."""
    body = {"reason": arguments.reason, "ticketKey": arguments.ticket}
    return _acted(program_of(arguments).post(arguments.id, "attach", body=body))


def _runs(action: str) -> Callable[[argparse.Namespace], int]:
    """Return what does something that needs nothing but a reason."""

    def run(arguments: argparse.Namespace) -> int:
        api = program_of(arguments)
        if arguments.id is None:
            return run_bulk(api, action, arguments)
        return _acted(api.post(arguments.id, action, body={"reason": arguments.reason}))

    return run


def _acted(request: Mapping[str, Any]) -> int:
    ticket = f", ticket {request['ticketKey']}" if "ticketKey" in request else ""
    sys.stdout.write(
        one_line(f"{request['correlationId']} is now {request['status']}{ticket}") + "\n"
    )
    return 0


def _told(request: Mapping[str, Any]) -> Iterator[str]:
    yield f"Request {one_line(request['correlationId'])}"
    for heading, names in _SECTIONS.items():
        known = [(f"  {name}", one_line(request[name])) for name in names if request.get(name)]
        if known:
            yield from ("", heading, *_aligned(known))
    yield from ("", "History", *_aligned([_happened(line) for line in request["history"]]))


def _happened(line: Mapping[str, Any]) -> tuple[str, ...]:
    more = {name: said for name, said in line.items() if name not in {"at", "event", "state"}}
    told = ", ".join(f"{name}: {one_line(said)}" for name, said in more.items())
    return (
        f"  {one_line(line['at'])}",
        one_line(line["event"]),
        f"-> {one_line(line['state'])}",
        told,
    )


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _print_json(page: Any) -> None:
    sys.stdout.write(orjson.dumps(page, option=orjson.OPT_INDENT_2).decode() + "\n")
