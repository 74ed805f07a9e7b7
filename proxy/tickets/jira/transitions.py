"""Jira transitions, by name or id, and the withdrawal of a ticket."""

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
        ConflictError: the issue's present status does not have this transition.
    """
    path = f"{site.platform}/issue/{quote(ticket_id, safe='')}/transitions"
    tree = site.object(await site.call("GET", path), "transitions")
    offered = site.objects(tree, "transitions", "transitions")
    named = [
        offer
        for offer in offered
        if transition == offer.get("id")
        or transition.casefold() == scalar_text(offer.get("name"), LONGEST).casefold()
    ]
    if not named:
        there = ", ".join(scalar_text(offer.get("name"), LONGEST) for offer in offered)
        raise ConflictError(
            f"{site.name}: {ticket_id} has no transition {transition!r}: {there or '-'}"
        )
    body = {"transition": {"id": named[0]["id"]}, **({"fields": dict(fields)} if fields else {})}
    await site.call("POST", path, body, repeatable=False)


async def withdraw(site: Site, ticket_id: str, how: Cancel) -> None:
    """Withdraw a ticket by a transition or by declining its approvals.

    Raises:
        ConflictError: it cannot be withdrawn any more, or our account may answer no approval.
    """
    if how.transition is not None:
        await take(site, ticket_id, how.transition, how.fields)
        return
    path = f"{DESK}/request/{quote(ticket_id, safe='')}/approval"
    ours = [
        approval
        for approval in await site.values(path)
        if approval.get("canAnswerApproval") is True
    ]
    if not ours:
        raise ConflictError(f"{site.name}: {ticket_id} has no approval that our account may answer")
    for approval in ours:
        number = quote(scalar_text(approval.get("id"), LONGEST), safe="")
        await site.call("POST", f"{path}/{number}", {"decision": how.answer}, repeatable=False)


async def status_of(site: Site, ticket_id: str) -> str:
    """Return the name of the present status of an issue."""
    return status(await site.issue(ticket_id, ("status",)))
