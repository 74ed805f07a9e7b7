"""Guards: the rules that hold an approval until a person has looked at it. Pure.

Only approvals are guarded, because a rejection gives nobody anything.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.domain.identities import Identities, Resolved
from proxy.domain.models import ApprovalRequest, Ticket
from proxy.domain.route import Guards

GUARDED: Final = "guarded"
"""The code of a request that is held because of its approval."""


def violations(
    guards: Guards,
    request: ApprovalRequest,
    ticket: Ticket,
    *,
    key_fields: str,
    identities: Identities,
) -> list[str]:
    """Return the guard violations of an approval, one sentence each; none means that it passes.

    `key_fields` is the digest of the ticket's key fields when it was first read.
    """
    deciders = ticket.deciders or ([ticket.decided_by] if ticket.decided_by else [])
    return [
        *_wrong_person(guards, request, deciders, identities),
        *_own_account(guards, deciders, identities),
        *_wrong_group(guards, ticket),
        *_changed(guards, ticket, key_fields),
    ]


def _wrong_person(
    guards: Guards, request: ApprovalRequest, deciders: Sequence[str], identities: Identities
) -> Iterator[str]:
    """Yield the violation by an approver who is, or may be, one of the persons concerned."""
    doubtful = False
    concerned = dict.fromkeys(request.identities, "gets the access")
    concerned |= {request.requester: "asked for it"} if request.requester else {}
    for person, role in concerned.items():
        identity = identities.of(person)
        if isinstance(identity, Resolved) and identity.group:
            continue  # the members of a group are not known here
        answer, decider = _compare(deciders, person, identities)
        if answer and guards.self_approval == "hold":
            # the ticket system's spelling: personal data of the hook call stays out of the logs
            yield f"it was approved by {decider}, who {role}"
        doubtful |= answer is None
    if guards.unknown_approver == "hold" and (doubtful or not deciders):
        who = (
            f"of {', '.join(deciders)} it is not known who that is"
            if deciders
            else ("the ticket does not say who approved")
        )
        yield f"{who}, so it may be somebody who asked for it or gets the access"


def _own_account(guards: Guards, deciders: Sequence[str], identities: Identities) -> Iterator[str]:
    """Yield the violation by an account of the proxy, in whichever spelling."""
    for account in guards.own_accounts:
        answer, decider = _compare(deciders, account, identities)
        if answer:
            yield f"it was approved by our own account {decider}"


def _compare(
    deciders: Sequence[str], person: str, identities: Identities
) -> tuple[bool | None, str]:
    """Return if the person decided, and the name that shows it; None if that is uncertain.

    All names are of one decider, so one name that differs for certain is enough.
    """
    answers = {decider: identities.same(decider, person) for decider in deciders}
    for decider, same in answers.items():
        if same:
            return True, decider
    return (False if False in answers.values() else None), ""


def _wrong_group(guards: Guards, ticket: Ticket) -> Iterator[str]:
    if not guards.approver_groups:
        return
    allowed = {group.casefold() for group in guards.approver_groups}
    if allowed.isdisjoint(group.casefold() for group in ticket.decider_groups):
        groups = ", ".join(ticket.decider_groups) or "no group that the ticket names"
        yield f"it was approved for {groups}, and not for {', '.join(guards.approver_groups)}"


def _changed(guards: Guards, ticket: Ticket, key_fields: str) -> Iterator[str]:
    if guards.changed_fields == "hold" and key_fields and ticket.key_fields != key_fields:
        yield "what the ticket asks for was changed after it was opened"
