"""`requests retry` and `requests cancel` without an ID: all requests that match a filter."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from proxy.cli.client import Connect, OperatorApi
from proxy.cli.output import one_line, progress_bar

_FILTERS: Final = {
    "state": "Only requests in these states, such as held,dead.",
    "system": "Only requests whose tickets are in this ticket system.",
    "instance": "Only requests of this witboost instance.",
    "code": "Only requests that were set aside for this reason, such as gave_up.",
}
_METAVARS: Final = {"state": "STATE,..."}


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that select requests; `selected` reads them."""
    for name, text in reversed(_FILTERS.items()):
        command = click.option(f"--{name}", metavar=_METAVARS.get(name), help=text)(command)
    return command


def selected(options: Mapping[str, str | None]) -> dict[str, str]:
    """Return the filter that the options make."""
    return {name: value for name in _FILTERS if (value := options[name])}


def bulk_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add an optional ID, the filter that can replace it, and `--yes`."""
    text = "Act on all requests that match the filter; without it, they are only counted."
    command = click.option("--yes", is_flag=True, help=text)(command)
    command = filter_options(command)
    text = "The correlation id of one request; omit it to use the filter."
    return click.argument("correlation_id", metavar="[ID]", required=False, help=text)(command)


def refuse_filter(*, yes: bool, reason: str, **options: str | None) -> None:  # noqa: ARG001 - goes with an ID
    """Raise UsageError if the options of a filter are used together with an ID."""
    if yes or selected(options):
        raise click.UsageError("An ID selects one request: omit it, or the filter and --yes.")


def run_bulk(
    connect: Connect, action: str, *, yes: bool, reason: str, **options: str | None
) -> int:
    """Count the matching requests, and with `yes` act on them; 1 if an action failed.

    Raises:
        UsageError: the filter names no state.
    """
    selection = selected(options)
    if "state" not in selection:
        raise click.UsageError(f"Give an ID or --state; `{action} --state` counts first.")
    api = connect()
    body = {"filter": selection, "reason": reason}
    pages = _pages(api, action, {**body, "dryRun": True})
    matching = sum(page["matching"] for page in pages)
    if not yes:
        click.echo(f"{matching} requests match; add --yes to {action} them")
        return 0
    done, failures = 0, list[Mapping[str, Any]]()
    with progress_bar(action) as report:
        for page in _pages(api, action, {**body, "dryRun": False}):
            done += page["done"]
            failures += page["failed"]
            report(done + len(failures), matching)
    for failure in failures:
        click.echo(f"{one_line(failure['correlationId'])}: {one_line(failure['error'])}")
    click.echo(f"{done} of {matching} done, {len(failures)} failed")
    return int(bool(failures))


def _pages(api: OperatorApi, action: str, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    before: dict[str, str] = {}
    while True:
        page = api.post("bulk", action, body={**body, "filter": {**body["filter"], **before}})
        yield page
        if "next" not in page:
            return
        before = {"before": page["next"]}
