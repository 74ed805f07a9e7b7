"""The Jira adapter and the simulated site keep Atlassian's own specifications; prism judges.

Prism stands between both: it refuses a call and replaces an answer that the specification does not
know, so whatever comes through is right on both sides.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from proxy.domain.models import Outcome
from proxy.errors import ConflictError, NotFoundError, PermanentError, TemporaryError
from proxy.outbound.client import Outbound
from proxy.simulators.faults import Fault
from proxy.simulators.jira.issues import AWAITING_APPROVAL, Issues
from proxy.simulators.jira.responses import ResponseWriter, account
from proxy.simulators.jira.server import Jira
from proxy.simulators.jira.site import LIMITS, rate_limit
from proxy.tickets.jira.client import PAGE, Site
from proxy.tickets.port import Cancels, Comments, FetchesMany, ListsChanges
from tests.e2e.npm import npm_program
from tests.e2e.prism import SCRIPT, prism
from tests.support.adapter_benches import (
    BY_STATUS,
    ISSUE,
    REQUEST,
    JiraBench,
    jira_site,
    jira_system,
)
from tests.support.declarations import approval_request

SPECIFICATION = "jira-cloud.openapi.yaml"
KINDS: list[dict[str, Any]] = [{}, {"issue": ISSUE, "correlation_field": "labels", **BY_STATUS}]

pytestmark = [
    pytest.mark.timeout(600),  # the first test may install prism
    pytest.mark.asyncio(loop_scope="module"),  # in which prism runs, as it starts slowly
]

Opened = Callable[..., JiraBench]
"""Opens an adapter with prism between it and the site."""


@pytest.fixture(scope="session")
def program() -> tuple[str, str]:
    return npm_program(SCRIPT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def between(program: tuple[str, str]) -> AsyncIterator[tuple[Jira, str, Outbound]]:
    async with (
        jira_site() as site,
        prism(program, SPECIFICATION, site.url) as url,
        Outbound(loopback=True) as outbound,
    ):
        yield site, url, outbound


@pytest.fixture
def judged(between: tuple[Jira, str, Outbound]) -> Opened:
    site, url, outbound = between
    site.faults.switch_off()

    def opened(*, initial: str = AWAITING_APPROVAL, **declared: Any) -> JiraBench:
        site.issues = Issues(site.clock, 0, initial=initial, steps=1)
        return JiraBench(jira_system(outbound, site, through=url, **declared), site)

    return opened


async def known(_: Site, email: str) -> str:
    """Look nobody up: the specification at hand is cut before that."""
    return account(email.partition("@")[0], cloud=True)


@pytest.mark.parametrize("declared", KINDS, ids=["request", "issue"])
async def test_a_whole_life_keeps_the_specification(
    judged: Opened, declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked, opened in somebody's name, started, found, read, listed, commented on, decided."""
    monkeypatch.setattr(Site, "user", known)
    start = {"transition": "Ask for approval", "status": "Waiting for approval"}
    bench = judged(initial="Open", on_behalf_of_requester=True, start=start, **declared)
    system = bench.system
    assert isinstance(system, Comments)
    assert isinstance(system, ListsChanges)
    assert isinstance(system, FetchesMany)
    await system.ping()
    ticket = await system.open(approval_request(requester_email="ada@company.com"))
    assert (bench.site.get_issue(ticket.id).reporter, ticket.note) == ("ada", "")
    assert [found.id for found in await system.find("r-1")] == [ticket.id]
    assert (await system.fetch(ticket.id)).outcome is Outcome.PENDING
    await system.comment(ticket.id, "Two lines\nof one comment\n\nand one more")
    bench.site.decide(ticket.id, "approved")
    read = await system.fetch(ticket.id)
    assert (read.outcome, read.decided_by) == (Outcome.APPROVED, "olga")
    assert set(await system.changes(0)) == {ticket.id}
    found = await system.fetch_many([ticket.id, "999999"])
    assert found == {ticket.id: read}


@pytest.mark.parametrize("cancel", [{"transition": "Cancel request"}, {"answer": "decline"}])
async def test_a_withdrawal_keeps_the_specification(judged: Opened, cancel: dict[str, Any]) -> None:
    bench = judged(cancel=cancel)
    assert isinstance(bench.system, Cancels)
    ticket = await bench.system.open(approval_request())
    await bench.system.cancel(ticket.id, "no longer needed")
    assert (await bench.system.fetch(ticket.id)).outcome in {Outcome.CANCELLED, Outcome.REJECTED}


async def test_pages_keep_the_specification(judged: Opened) -> None:
    bench = judged()
    assert isinstance(bench.system, ListsChanges)
    for number in range(2 * PAGE + 1):
        fields = {"summary": "x", "customfield_10050": f"c{number}"}
        bench.site.issues.create("ACC", fields, reporter="ada")
    assert len(await bench.system.changes(0)) == 2 * PAGE + 1


async def test_every_refusal_keeps_the_specification(judged: Opened) -> None:
    """What is said is the site's own, and not prism's."""
    bench = judged(request={**REQUEST, "fields": {"customfield_9": "x"}})
    with pytest.raises(PermanentError, match="is not on the form of this request type"):
        await bench.system.open(approval_request())
    with pytest.raises(NotFoundError, match="does not exist or you do not have permission"):
        await bench.system.fetch("999999")
    for reason in LIMITS:
        bench.site.switch_on(rate_limit("find", reason, until="2100-01-01T00:00:00Z"))
        with pytest.raises(TemporaryError, match=reason):
            await bench.system.find("r-1")
    bench = judged(issue={**ISSUE, "fields": {"customfield_9": "x"}}, **BY_STATUS)
    with pytest.raises(PermanentError, match="customfield_9: Field 'customfield_9' cannot be"):
        await bench.system.open(approval_request())
    bench = judged(cancel={"answer": "decline"})
    assert isinstance(bench.system, Cancels)
    ticket = await bench.system.open(approval_request())
    bench.site.decide(ticket.id, "approved")
    for operation in ("read", "approval"):
        bench.site.switch_on(Fault(operation, "stale", times=2))
    with pytest.raises(ConflictError, match="answered already"):
        await bench.system.cancel(ticket.id, "no longer needed")


async def test_a_wrong_call_is_caught(judged: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: whoever is written as an object never reaches the site."""

    async def wrong(_: Site, email: str) -> Any:
        return {"emailAddress": email}

    monkeypatch.setattr(Site, "user", wrong)
    bench = judged(on_behalf_of_requester=True)
    with pytest.raises(PermanentError, match="422"):
        await bench.system.open(approval_request(requester_email="ada@company.com"))
    assert not list(bench.site.issues)


async def test_a_wrong_answer_is_caught(judged: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a decision that is none of the specification's never reaches us."""
    right = ResponseWriter.approval

    def wrong(*shown: Any) -> dict[str, Any]:
        return right(*shown) | {"finalDecision": "APPROVED"}

    monkeypatch.setattr(ResponseWriter, "approval", wrong)
    bench = judged()
    ticket = await bench.system.open(approval_request())
    with pytest.raises(TemporaryError, match="500"):
        await bench.system.fetch(ticket.id)
