"""What a ServiceNow instance shows of itself before any record is created: fields, words, people.

It ignores fields that it does not know, so a slip of the keyboard would lose what it names without
any error. What it requires is a matter of its data policies, which an ordinary account cannot read.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from proxy.domain.models import Outcome
from proxy.errors import ConfigurationError
from proxy.tickets.port import Inspected, Inspection
from proxy.tickets.servicenow.client import Instance, quoted, shaped, text_of
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration

_KNOWN: Final = frozenset(
    ServiceNowDeclaration.model_fields["decision"].get_default(call_default_factory=True)
)


def preflight_checks(
    declaration: ServiceNowDeclaration, instance: Instance
) -> Mapping[str, Inspection]:
    """Return what can be asked about a declaration."""
    asked = {
        "fields": partial(_fields, declaration, instance),
        "statuses": partial(_statuses, declaration, instance),
        "approvals": partial(_approvals, instance),
    }
    return {**asked, "users": partial(_users, instance)} if declaration.reporter else asked


async def _fields(declared: ServiceNowDeclaration, instance: Instance) -> Inspected:
    """Look at some record for every field that is read or written."""
    table = declared.ticket_table
    written = (*declared.written, *declared.reporter, *(declared.cancel or {}), "comments")
    wanted = tuple(dict.fromkeys((*declared.read_fields, *written)))
    rows = await _sample(instance, table, "", wanted)
    if not rows:
        return Inspected(f"{table} shows no record in which its fields could be seen", proven=False)
    if missing := [field for field in wanted if field not in rows[0]]:
        raise ConfigurationError(
            f"{instance.name}: a record of {table} shows no {', '.join(missing)}: correct the"
            " names, or let our account read them; what is written into an unknown field is lost"
        )
    return Inspected(f"{table} has every field that is read or written")


async def _statuses(declared: ServiceNowDeclaration, instance: Instance) -> Inspected:
    """Compare the decision map with the choices of its field."""
    table, field = declared.ticket_table, declared.decision_field
    query = f"nameINtask,{quoted(table)}^element={quoted(field)}^inactive=false"
    rows = await _sample(instance, "sys_choice", query, ("name", "element", "value"), limit=200)
    tables = {"task", table}
    ours = [it for it in rows if it.get("element") == field and it.get("name") in tables]
    choices = {text_of(row.get("value")) for row in ours}
    if not choices:
        return Inspected(f"the choices of {field} are not shown to our account", proven=False)
    words = {declared.status_word(choice) for choice in choices}
    if strange := [it for it in declared.decision if it not in _KNOWN | choices]:
        raise ConfigurationError(
            f"{instance.name}: decision maps {', '.join(strange)}, which {field} of {table} never"
            f" is: it is {', '.join(sorted(choices))}"
        )
    begins = [it for it, outcome in declared.decision.items() if outcome is Outcome.PENDING]
    if words.isdisjoint(declared.status_word(each) for each in begins):
        raise ConfigurationError(
            f"{instance.name}: decision maps nothing to pending that {field} of {table} can be, so"
            f" each new record would raise an alarm: it is {', '.join(sorted(choices))}"
        )
    others = sorted(choice for choice in choices if declared.outcome(choice) is None)
    more = f"; taken for pending, with an alarm: {', '.join(others)}" if others else ""
    return Inspected(f"decision knows what {field} begins with{more}")


async def _approvals(instance: Instance) -> Inspected:
    """Look whether approvals are shown, which say who decided."""
    if await _sample(instance, "sysapproval_approver", "", ("sysapproval", "state")):
        return Inspected("our account sees who approves")
    said = "no approval is shown to our account, so whether it may see who approves is not known"
    return Inspected(said, proven=False)


async def _users(instance: Instance) -> Inspected:
    if await _sample(instance, "sys_user", "active=true", ("sys_id", "email")):
        return Inspected("our account sees users, so it finds reporters")
    raise ConfigurationError(
        f"{instance.name}: no user is shown to our account, so nobody becomes a reporter: let it"
        " read sys_user, or take `reporter` out"
    )


async def _sample(
    instance: Instance, table: str, query: str, fields: Sequence[str], *, limit: int = 1
) -> list[Mapping[str, Any]]:
    shape = {**shaped(fields), "sysparm_query": query, "sysparm_limit": str(limit)}
    tree = await instance.call("GET", f"/api/now/table/{table}", query=shape)
    rows = tree.get("result") if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        instance.unreadable(f"a list of {table}", "no list `result`")
    return rows
