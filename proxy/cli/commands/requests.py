"""`approval-proxy requests`: what operators see and do, against a running program."""

from collections.abc import Mapping
from typing import Any, Final

import click

from proxy.cli.client import Connect, api_options
from proxy.cli.commands.bulk import (
    bulk_options,
    filter_options,
    refuse_filter,
    run_bulk,
    selected,
)
from proxy.cli.output import one_line, print_json, print_table

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
    "release": "Accept the approval that a guard holds, or confirm that awaited access exists.",
    "reject": "Reject without the ticket, or report that awaited access will not exist.",
    "refresh": "Continue a request now: read its ticket, or send its callback.",
    "reroute": "Choose the route again, under the present settings.",
}
"""Actions on one request that need nothing but a reason."""

_id_argument: Final = click.argument(
    "correlation_id", metavar="ID", help="The correlation id of the request."
)
_reason_option: Final = click.option(
    "--reason", required=True, help="Why; it becomes part of the history."
)
_json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print the API's answer as JSON."
)


@click.group()
def requests() -> None:
    """List and show requests, decide them, and continue those that stopped."""


@requests.command("list")
@filter_options
@click.option("--ticket", metavar="KEY", help="Only requests of this ticket, by its key or id.")
@click.option("--limit", type=click.IntRange(min=1), default=_USUAL, help="How many requests.")
@_json_option
@api_options
def list_(
    ticket: str | None, limit: int, connect: Connect, *, as_json: bool, **options: str | None
) -> int:
    """List requests, newest first."""
    api, rows = connect(), list[Mapping[str, Any]]()
    query = selected(options) | ({"ticket": ticket} if ticket else {})
    while (missing := limit - len(rows)) > 0:
        page = api.get("requests", query={**query, "limit": str(min(missing, _PAGE))})
        rows += page["requests"]
        if "next" not in page:
            break
        query["before"] = page["next"]
    if as_json:
        print_json(rows)
    else:
        cells = [[one_line(row.get(name, "-")) for name in _COLUMNS] for row in rows]
        print_table(cells, header=tuple(_COLUMNS.values()))
    return 0


@requests.command()
@_id_argument
@_json_option
@api_options
def show(correlation_id: str, connect: Connect, *, as_json: bool) -> int:
    """Show one request with its history."""
    request = connect().get("requests", correlation_id)
    if as_json:
        print_json(request)
    else:
        _print_request(request)
    return 0


@requests.command()
@_id_argument
@click.argument("ticket", metavar="TICKET-KEY", help="The ticket's key or id.")
@_reason_option
@api_options
def attach(correlation_id: str, ticket: str, reason: str, connect: Connect) -> int:
    """Give a request its ticket, where a create is in doubt."""
    return _act(connect, correlation_id, "attach", reason, ticketKey=ticket)


@requests.command()
@bulk_options
@click.option(
    "--no-ticket-exists",
    is_flag=True,
    help="Confirm that a create in doubt made no ticket; a second one is then created.",
)
@_reason_option
@api_options
def retry(
    correlation_id: str | None, connect: Connect, *, no_ticket_exists: bool, **options: Any
) -> int:
    """Continue a held or dead request, or all that match a filter."""
    if correlation_id is None and no_ticket_exists:
        raise click.UsageError("--no-ticket-exists is about one request: give its ID.")
    if correlation_id is None:
        return run_bulk(connect, "retry", **options)
    refuse_filter(**options)
    return _act(
        connect, correlation_id, "retry", options["reason"], noTicketExists=no_ticket_exists
    )


@requests.command()
@bulk_options
@_reason_option
@api_options
def cancel(correlation_id: str | None, connect: Connect, **options: Any) -> int:
    """End a request that nobody needs any more, or all that match a filter."""
    if correlation_id is None:
        return run_bulk(connect, "cancel", **options)
    refuse_filter(**options)
    return _act(connect, correlation_id, "cancel", options["reason"])


def _add_simple(action: str, summary: str) -> None:
    @requests.command(action, help=summary)
    @_id_argument
    @_reason_option
    @api_options
    def run(correlation_id: str, reason: str, connect: Connect) -> int:
        return _act(connect, correlation_id, action, reason)


for _action, _summary in SIMPLE.items():
    _add_simple(_action, _summary)


def _act(connect: Connect, correlation_id: str, action: str, reason: str, **body: Any) -> int:
    """Act on one request, and print its new state."""
    path = ("requests", correlation_id, action)
    request = connect().post(*path, body={"reason": reason, **body})
    ticket = f", ticket {request['ticketKey']}" if "ticketKey" in request else ""
    click.echo(one_line(f"{request['correlationId']} is now {request['status']}{ticket}"))
    return 0


def _print_request(request: Mapping[str, Any]) -> None:
    click.echo(f"Request {one_line(request['correlationId'])}")
    for heading, names in _SECTIONS.items():
        rows = [(name, one_line(request[name])) for name in names if request.get(name)]
        if rows:
            click.echo(f"\n{heading}")
            print_table(rows, indent=2)
    click.echo("\nHistory")
    print_table(map(_event_row, request["history"]), indent=2)


def _event_row(line: Mapping[str, Any]) -> tuple[str, ...]:
    details = (
        f"{name}: {one_line(value)}"
        for name, value in line.items()
        if name not in {"at", "event", "state"}
    )
    first = (one_line(line[name]) for name in ("at", "event"))
    return (*first, f"-> {one_line(line['state'])}", ", ".join(details))
