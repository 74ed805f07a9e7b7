"""Who plays the ticket system: each kind has a simulator, settings, and words of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final


@dataclass(frozen=True, slots=True)
class SystemKind:
    """One kind of ticket system in the demo.

    `simulator` is what `proxy.demo.serve` starts, `system` its name in the settings, `control` the
    path prefix of what needs no credential there; below it, `tickets` lists all tickets and decides
    one of them. `untouched` is the native status of a ticket that nobody has decided; `key` returns
    the key of the n-th ticket, counted from 1.
    """

    kind: str
    title: str
    simulator: str
    system: str
    control: str
    tickets: str
    untouched: str
    key: Callable[[int], str]

    def ticket_system(self, given: Mapping[str, str]) -> str:
        """Return this system's part of the settings."""
        text = (files("proxy.demo") / f"{self.kind}.yaml").read_text()
        return Template(text).substitute(given)

    def decision(self, ticket: str) -> str:
        """Return the path where a person decides a ticket, by its id or key."""
        return f"{self.control}{self.tickets}/{ticket}/decision"


CASTS: Final[Mapping[str, SystemKind]] = {
    "rest": SystemKind(
        kind="rest",
        title="a ticket desk",
        simulator="desk",
        system="desk",
        control="/desk",
        tickets="/tickets",
        untouched="new",
        key="DESK-{}".format,
    ),
    "servicenow": SystemKind(
        kind="servicenow",
        title="ServiceNow",
        simulator="servicenow",
        system="servicenow",
        control="/servicenow",
        tickets="/tasks",
        untouched="not requested",
        key=lambda number: f"CHG{30_000 + number:07}",
    ),
    "jira": SystemKind(
        kind="jira",
        title="Jira Service Management",
        simulator="jira",
        system="jira",
        control="/jira",
        tickets="/issues",
        untouched="Waiting for approval",
        key="ACC-{}".format,
    ),
}
