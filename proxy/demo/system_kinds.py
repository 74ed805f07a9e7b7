"""The kinds of ticket system that the demo can use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final


@dataclass(frozen=True, slots=True)
class SystemKind:
    """One kind of ticket system in the demo.

    `simulator` is its name for `proxy.demo.serve`, `system` its name in the settings, `control`
    the path prefix that needs no credential, `tickets` the path of all tickets below it.
    `initial_status` is the native status of an undecided ticket; `key` returns the key of the n-th
    ticket, counted from 1.
    """

    name: str
    title: str
    simulator: str
    system: str
    control: str
    tickets: str
    initial_status: str
    key: Callable[[int], str]

    def ticket_system(self, values: Mapping[str, str]) -> str:
        """Return this system's part of the settings."""
        text = (files("proxy.demo") / f"{self.name}.yaml").read_text()
        return Template(text).substitute(values)

    def decision(self, ticket: str) -> str:
        """Return the path where a person decides a ticket, by its id or key."""
        return f"{self.control}{self.tickets}/{ticket}/decision"


SYSTEM_KINDS: Final[Mapping[str, SystemKind]] = {
    "rest": SystemKind(
        name="rest",
        title="a ticket desk",
        simulator="desk",
        system="desk",
        control="/desk",
        tickets="/tickets",
        initial_status="new",
        key="DESK-{}".format,
    ),
    "servicenow": SystemKind(
        name="servicenow",
        title="ServiceNow",
        simulator="servicenow",
        system="servicenow",
        control="/servicenow",
        tickets="/tasks",
        initial_status="not requested",
        key=lambda number: f"CHG{30_000 + number:07}",
    ),
    "jira": SystemKind(
        name="jira",
        title="Jira Service Management",
        simulator="jira",
        system="jira",
        control="/jira",
        tickets="/issues",
        initial_status="Waiting for approval",
        key="ACC-{}".format,
    ),
}
