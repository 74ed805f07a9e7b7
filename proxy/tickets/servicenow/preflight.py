"""ServiceNow preflight: compares declared fields and statuses with the instance, and our rights.

An instance ignores fields that it does not know, so a typing mistake would lose a value without any
error. Its required fields come from data policies, which an ordinary account cannot read.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final

from proxy.domain.models import Outcome
from proxy.errors import ConfigurationError
from proxy.tickets.port import Inspected, Inspection
from proxy.tickets.servicenow.client import Instance, quoted, text_of
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration

_READABLE: Final = frozenset(
    ServiceNowDeclaration.model_fields["decision"].get_default(call_default_factory=True)
)


def preflight_checks(
    declaration: ServiceNowDeclaration, instance: Instance
) -> Mapping[str, Inspection]:
    """Return the checks of a declaration by their names."""
    checks = {
        "fields": partial(_fields, declaration, instance),
        "statuses": partial(_statuses, declaration, instance),
        "approvals": partial(_approvals, instance),
    }
    return {**checks, "users": partial(_users, instance)} if declaration.reporter else checks


async def _fields(declared: ServiceNowDeclaration, instance: Instance) -> Inspected:
    """Check that a record of the table has every field that is read or written."""
    table = declared.ticket_table
    written = (*declared.written, *declared.reporter, *(declared.cancel or {}), "comments")
    fields = tuple(dict.fromkeys((*declared.read_fields, *written)))
    rows = await instance.page(table, "", fields, limit=1)
    if not rows:
        return Inspected(f"{table} shows no record, so its fields are not known", proven=False)
    if missing := [field for field in fields if field not in rows[0]]:
        raise ConfigurationError(
            f"{instance.name}: a record of {table} shows no {', '.join(missing)}: correct the"
            " names, or let our account read them; what is written into an unknown field is lost"
        )
    return Inspected(f"{table} has every field that is read or written")


async def _statuses(declared: ServiceNowDeclaration, instance: Instance) -> Inspected:
    """Compare the decision map with the choices of its field."""
    table, field = declared.ticket_table, declared.decision_field
    query = f"nameINtask,{quoted(table)}^element={quoted(field)}^inactive=false"
    rows = await instance.page("sys_choice", query, ("name", "element", "value"), limit=200)
    tables = {"task", table}
    ours = [row for row in rows if row.get("element") == field and row.get("name") in tables]
    choices = {text_of(row.get("value")) for row in ours}
    if not choices:
        return Inspected(f"the choices of {field} are not shown to our account", proven=False)
    comparable = {declared.status_word(choice) for choice in choices}
    if strange := [status for status in declared.decision if status not in _READABLE | choices]:
        raise ConfigurationError(
            f"{instance.name}: decision maps {', '.join(strange)}, which {field} of {table} never"
            f" is: it is {', '.join(sorted(choices))}"
        )
    begins = [status for status, outcome in declared.decision.items() if outcome is Outcome.PENDING]
    if comparable.isdisjoint(declared.status_word(status) for status in begins):
        raise ConfigurationError(
            f"{instance.name}: decision maps nothing to pending that {field} of {table} can be, so"
            f" status new record would raise an alarm: it is {', '.join(sorted(choices))}"
        )
    others = sorted(choice for choice in choices if declared.outcome(choice) is None)
    more = f"; taken for pending, with an alarm: {', '.join(others)}" if others else ""
    return Inspected(f"decision knows what {field} begins with{more}")


async def _approvals(instance: Instance) -> Inspected:
    """Check that our account sees approvals, which say who decided."""
    if await instance.page("sysapproval_approver", "", ("sysapproval", "state"), limit=1):
        return Inspected("our account sees who approves")
    message = "our account sees no approval, so it is not known whether it may see who approves"
    return Inspected(message, proven=False)


async def _users(instance: Instance) -> Inspected:
    if await instance.page("sys_user", "active=true", ("sys_id", "email"), limit=1):
        return Inspected("our account sees users, so it finds reporters")
    raise ConfigurationError(
        f"{instance.name}: our account sees no user, so nobody becomes a reporter: let it read"
        " sys_user, or take `reporter` out"
    )
