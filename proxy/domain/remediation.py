"""Remediation: the advice for a parked request, by the code of its reason. Pure."""

from collections.abc import Mapping
from typing import Final

from proxy.domain.guards import GUARDED

REMEDIATION: Final[Mapping[str, str]] = {
    GUARDED: "Look who approved, and release the request, or reject it.",
    "callback_conflict": "Look which status witboost has, and put it right there; then retry: that"
    " ends the request.",
    "create_in_doubt": "Look for the correlation id in the ticket system: attach the ticket, or"
    " retry with --no-ticket-exists.",
    "decision_deadline": "Have the ticket decided and retry, or reject the request.",
    "fulfilment_deadline": "See to the access and retry, which reads the ticket again; or release,"
    " which tells witboost that the access is there; or reject what will never be there.",
    "gave_up": "Repair what the reason names, then retry.",
    "refused": "Repair the settings, the ticket system or the request's data, then retry or"
    " reroute; reject what cannot be served.",
    "ticket_missing": "Find the ticket, or make it visible to our account, then retry; or reject.",
    "unroutable": "Add a route that takes the request, then reroute; or reject.",
}
"""One sentence for every code that `hold` and `give_up` use; a test compares them."""
