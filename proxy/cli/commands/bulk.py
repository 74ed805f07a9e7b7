"""`requests retry` and `requests cancel` without an ID: what a filter names, counted first."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any, Final

from proxy.cli.client import OperatorApi
from proxy.cli.output import one_line
from proxy.errors import ConfigurationError

_FILTERS: Final = ("state", "system", "instance", "code")


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Give an action the options that say which requests."""
    parser.add_argument("--state", metavar="STATE,...", help="those in these states, as held,dead")
    parser.add_argument("--system", help="those whose tickets are in this ticket system")
    parser.add_argument("--instance", help="those of this witboost instance")
    parser.add_argument("--code", help="those set aside for this reason, such as gave_up")


def filter_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the filter that the options make."""
    given = {name: getattr(arguments, name) for name in _FILTERS}
    return {name: value for name, value in given.items() if value}


def add_bulk(parser: argparse.ArgumentParser) -> None:
    """Give an action a filter in place of an ID."""
    add_filter(parser)
    parser.add_argument(
        "--yes", action="store_true", help="do it to all that match; else they are only counted"
    )


def run_bulk(api: OperatorApi, action: str, arguments: argparse.Namespace) -> int:
    """Count what matches, then do it page by page; 1 if any request could not be done.

    Raises:
        ConfigurationError: the filter names no state.
    """
    wanted = filter_of(arguments)
    if "state" not in wanted:
        raise ConfigurationError(f"say which: an ID, or --state; then `{action}` counts first")
    body = {"filter": wanted, "reason": arguments.reason}
    matching = sum(page["matching"] for page in _pages(api, action, {**body, "dryRun": True}))
    if not arguments.yes:
        sys.stdout.write(f"{matching} requests match; say --yes to {action} them\n")
        return 0
    done, failed = 0, 0
    for page in _pages(api, action, {**body, "dryRun": False}):
        done += page["done"]
        for each in page["failed"]:
            failed += 1
            sys.stdout.write(f"{one_line(each['correlationId'])}: {one_line(each['error'])}\n")
        sys.stderr.write(f"{action}: {done + failed} of {matching}\n")
    sys.stdout.write(f"{done} of {matching} done, {failed} not\n")
    return int(failed > 0)


def _pages(api: OperatorApi, action: str, body: Mapping[str, Any]) -> Any:
    before: dict[str, str] = {}
    while True:
        page = api.bulk(action, {**body, "filter": {**body["filter"], **before}})
        yield page
        if "next" not in page:
            return
        before = {"before": page["next"]}
