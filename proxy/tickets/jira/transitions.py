"""Transitions of an issue, named by people or by id, and answers to approvals."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from proxy.errors import ConflictError
from proxy.tickets.declaring.sanitize import scalar_text
from proxy.tickets.jira.client import DESK, LONGEST, Site, status
from proxy.tickets.jira.declaration import Cancel


async def take(
    site: Site, ticket_id: str, transition: str, fields: Mapping[str, Any] | None = None
) -> None:
    """Take a transition by its name or id.

    Raises:
        Conflict: there is none such from the status that the issue has now.
    """
    path = f"{site.platform}/issue/{quote(ticket_id, safe='')}/transitions"
    tree = site.object(await site.call("GET", path), "transitions")
    offered = site.objects(tree, "transitions", "transitions")
    named = [
        each
        for each in offered
        if transition == each.get("id")
        or transition.casefold() == scalar_text(each.get("name"), LONGEST).casefold()
    ]
    if not named:
        there = ", ".join(scalar_text(each.get("name"), LONGEST) for each in offered)
        raise ConflictError(
            f"{site.name}: {ticket_id} has no transition {transition!r}: {there or '-'}"
        )
    body = {"transition": {"id": named[0]["id"]}, **({"fields": dict(fields)} if fields else {})}
    await site.call("POST", path, body, repeatable=False)


async def withdraw(site: Site, ticket_id: str, how: Cancel) -> None:
    """Withdraw a ticket as the settings say.

    Raises:
        Conflict: it cannot be withdrawn any more, or no approval of it is ours to answer.
    """
    if how.transition is not None:
        await take(site, ticket_id, how.transition, how.fields)
        return
    path = f"{DESK}/request/{quote(ticket_id, safe='')}/approval"
    ours = [each for each in await site.values(path) if each.get("canAnswerApproval") is True]
    if not ours:
        raise ConflictError(f"{site.name}: {ticket_id} has no approval that our account may answer")
    for each in ours:
        number = quote(scalar_text(each.get("id"), LONGEST), safe="")
        await site.call("POST", f"{path}/{number}", {"decision": how.answer}, repeatable=False)


async def status_of(site: Site, ticket_id: str) -> str:
    """Return the name of the status that an issue has now."""
    return status(await site.issue(ticket_id, ("status",)))
