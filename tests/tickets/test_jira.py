"""What bites at a Jira site, and what the adapter makes of it."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.domain.models import Fulfilment, Outcome, Ticket
from proxy.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PermanentError,
    TemporaryError,
    UnauthorizedError,
)
from proxy.settings import load
from proxy.simulators.faults import Fault
from proxy.simulators.jira.events import with_token
from proxy.simulators.jira.issues import TEXT_FIELD
from proxy.simulators.jira.responses import account
from proxy.simulators.jira.site import LIMITS, rate_limit
from proxy.tickets.jira.client import MOST_FETCHED, PAGE, Site
from proxy.tickets.jira.declaration import JiraDeclaration
from proxy.tickets.jira.text import wiki_comment
from proxy.tickets.port import Cancels, Comments, FetchesMany, ListsChanges, Preflight, PushesEvents
from tests.support.adapter_benches import BY_STATUS, ISSUE, REQUEST, SECRET, JiraBench, jira_bench
from tests.support.declarations import approval_request
from tests.support.example_settings import CANARY, EXAMPLE, write_example
from tests.support.manual_clock import ManualClock

MINUTE = 60_000
HOUR = 60 * MINUTE
NOW = 1_800_000_000_000
SITES = [pytest.param({"cloud": it}, id="cloud" if it else "data center") for it in (True, False)]
BY_RESOLUTION: Mapping[str, Any] = {
    "decide_by": "resolution",
    "decision": {"Done": "approved", "Declined": "rejected", "Won't do": "cancelled"},
}


@pytest.fixture
async def bench() -> AsyncIterator[JiraBench]:
    async with jira_bench() as bench:
        yield bench


@pytest.fixture
async def plain() -> AsyncIterator[JiraBench]:
    async with jira_bench(issue=ISSUE, **BY_STATUS) as bench:
        yield bench


async def opened(bench: JiraBench, **changes: Any) -> tuple[Ticket, Mapping[str, Any]]:
    ticket = await bench.system.open(approval_request(**changes))
    return ticket, bench.site.get_issue(ticket.id).state.fields


async def listed(bench: JiraBench, since: int) -> set[str]:
    assert isinstance(bench.system, ListsChanges)
    return set(await bench.system.changes(since))


def texts_of(document: Mapping[str, Any]) -> list[str]:
    """Return the lines of an Atlassian Document, each of which is one text node."""
    nodes = [node for block in document["content"] for node in block["content"]]
    return [node["text"] for node in nodes if node["type"] == "text"]


# -- what is written ---------------------------------------------------------------------------


async def test_a_request_says_who_asks_what_for_whom_and_why(bench: JiraBench) -> None:
    ticket, fields = await opened(bench)
    assert fields["summary"] == "Grant access to sales.orders for user:ada, user:bob"
    for part in ("Who: user:ada, user:bob", "To what: sales.orders", "Why: I need it", "cost: 7"):
        assert part in fields["description"]
    assert fields[TEXT_FIELD] == "r-1"
    assert ticket.key == "ACC-1"
    assert ticket.url == f"{bench.site.url}/browse/ACC-1"
    assert bench.site.get_issue(ticket.id).properties == {
        "approval-proxy": {"correlation_id": "r-1"}
    }


async def test_a_plain_issue_is_a_document_and_is_created_with_its_property(
    plain: JiraBench,
) -> None:
    ticket, fields = await opened(plain)
    assert "Why: I need it" in texts_of(fields["description"])
    assert (fields["project"], fields["issuetype"]) == ({"key": "ABC"}, {"name": "Task"})
    assert plain.site.get_issue(ticket.id).properties == {
        "approval-proxy": {"correlation_id": "r-1"}
    }
    assert not plain.site.journal.of("property")  # in one call


@pytest.mark.parametrize("site", SITES)
async def test_markup_of_a_requester_is_text(site: Mapping[str, Any]) -> None:
    """Links, mentions, images, macros and cells; and lines that look like ours."""
    nasty = "{html}\n[see|http://evil.example.com] [~olga] !http://evil.example.com/a.png! |x|"
    forged = "\nAsked by: the boss\r\n\x00\x1b[31mWho: all"
    async with jira_bench(site) as bench:
        _, fields = await opened(bench, motivation=nasty + forged)
    lines = fields["description"].splitlines()
    assert "Why: \\{html\\}" in lines
    said = r"\[see\|http://evil.example.com\] \[~olga\] \!http://evil.example.com/a.png\! \|x\|"
    assert f"\u00a0\u00a0\u00a0\u00a0{said}" in lines
    assert "\u00a0\u00a0\u00a0\u00a0Asked by: the boss" in lines
    assert sum(line.startswith("Asked by:") for line in lines) == 1
    assert sum(line.startswith("Who:") for line in lines) == 1


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("CORP\\jdoe", "CORP\\jdoe"),  # before a letter it is a backslash
        ("\\[x]", "&#92;\\[x\\]"),  # it must not undo ours
        ("a\\\\b", "a&#92;\\b"),  # two would break the line
        ("end\\", "end&#92;"),
        ("{{x}}", "\\{\\{x\\}\\}"),
    ],
)
def test_a_backslash_is_one_in_markup(text: str, written: str) -> None:
    assert wiki_comment(text) == written


@pytest.mark.parametrize("length", range(31_980, 32_010))
def test_no_escape_is_cut_in_half(length: int) -> None:
    for text in ("[" * length, "\\ " * length):
        cut = wiki_comment(text).removesuffix(" \\[...\\]")
        assert re.fullmatch(r"(?:\\\[)*|(?:&#92; ?)*", cut)
        assert len(cut) < 32_767


async def test_nothing_breaks_out_of_a_document(plain: JiraBench) -> None:
    nasty = '"}]},{"type":"mention"}\n\n[~olga] {html}\nAsked by: the boss'
    _, fields = await opened(plain, motivation=nasty)
    said = texts_of(fields["description"])
    assert 'Why: "}]},{"type":"mention"}' in said
    assert "\u00a0\u00a0\u00a0\u00a0[~olga] {html}" in said
    assert sum(line.startswith("Asked by:") for line in said) == 1


async def test_a_summary_is_one_line_and_cut_where_a_reader_sees_it(bench: JiraBench) -> None:
    _, fields = await opened(bench, resource="r\nr" * 500, motivation="[" * 40_000)
    assert 250 < len(fields["summary"]) <= 255
    assert fields["summary"].endswith("[...]")
    assert "\n" not in fields["summary"]
    assert fields["description"].endswith(" \\[...\\]")
    assert len(fields["description"]) < 32_767
    why = fields["description"].partition("Why: ")[2].removesuffix(" \\[...\\]")
    assert why == "\\[" * (len(why) // 2)  # no escape is cut in half


async def test_fields_of_the_settings_are_written_with_their_types_and_win() -> None:
    fields = {
        "summary": "{{ verb }}!",
        "priority": {"name": "{{ 'High' if identities | length > 1 else 'Low' }}"},
        "labels": ["access", "{{ verb }}"],
    }
    issue = {**ISSUE, "fields": fields}
    async with jira_bench(issue=issue, correlation_field="labels", **BY_STATUS) as bench:
        _, written = await opened(bench)
    assert (written["summary"], written["priority"]) == ("grant!", {"name": "High"})
    assert written["labels"] == ["access", "grant", "approval-proxy", "r-1"]


# -- in whose name -----------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [{}, {"issue": ISSUE, **BY_STATUS}])
@pytest.mark.parametrize("site", SITES)
async def test_the_requester_is_the_reporter_where_the_site_knows_exactly_one(
    declared: dict[str, Any], site: Mapping[str, Any]
) -> None:
    async with jira_bench(site, on_behalf_of_requester=True, **declared) as bench:
        for address, reporter in (
            ("ada@company.com", "ada"),
            ("ADA@company.com", "ada"),
            ("ad@company.com", "approval-proxy"),  # nobody
            ("", "approval-proxy"),  # not known to our settings
        ):
            ticket, _ = await opened(bench, requester_email=address)
            assert (bench.site.get_issue(ticket.id).reporter, ticket.note) == (reporter, "")


async def test_an_ambiguous_or_inactive_requester_is_left_out() -> None:
    async with jira_bench(on_behalf_of_requester=True) as bench:
        bench.site.people["bob@company.com"] = True  # a second account with bob's address
        bench.site.people["olga"] = False
        for address in ("bob@company.com", "olga@company.com"):
            ticket, _ = await opened(bench, requester_email=address)
            assert bench.site.get_issue(ticket.id).reporter == "approval-proxy"


async def test_a_requester_in_whose_name_nothing_may_be_opened_is_told_of() -> None:
    async with jira_bench(on_behalf_of_requester=True) as bench:
        bench.site.may_act_for_others = False
        ticket, _ = await opened(bench, requester_email="ada@company.com")
        assert "could not be opened on behalf of the requester" in ticket.note
        assert "permission to raise requests on behalf" in ticket.note
        assert bench.created() == 1


async def test_nobody_waits_because_people_may_not_be_looked_up() -> None:
    async with jira_bench(on_behalf_of_requester=True) as bench:
        bench.refuse("find", 403)
        ticket, _ = await opened(bench, requester_email="ada@company.com")
        assert "could not be opened on behalf of the requester" in ticket.note
        assert bench.site.get_issue(ticket.id).reporter == "approval-proxy"


async def test_a_look_up_of_the_requester_that_fails_has_created_nothing() -> None:
    async with jira_bench(on_behalf_of_requester=True) as bench:
        bench.refuse("find", 503)
        with pytest.raises(TemporaryError) as caught:
            await opened(bench, requester_email="ada@company.com")
        assert not caught.value.maybe_sent


# -- one ticket --------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [{}, {"correlation_field": "labels"}])
async def test_a_lagging_index_knows_what_we_have_just_created(declared: dict[str, Any]) -> None:
    """`reconcileIssues`: read after write, for what this process has created."""
    async with jira_bench(**declared) as bench:
        bench.site.switch_on(Fault("find", "lag", times=None))
        ticket, _ = await opened(bench)
        assert [found.id for found in await bench.system.find("r-1")] == [ticket.id]
        assert bench.site.journal.of("search")[-1]["reconciled"] == [ticket.id]


async def test_an_issue_that_is_gone_does_not_stop_a_search(bench: JiraBench) -> None:
    """What we created and somebody deleted cannot be reconciled: we ask without."""
    gone, _ = await opened(bench)
    ticket, _ = await opened(bench, correlation_id="r-2")
    bench.site.delete(gone.id)
    assert await bench.system.find("r-1") == []
    assert [found.id for found in await bench.system.find("r-2")] == [ticket.id]


async def test_without_the_answer_a_lagging_index_knows_nothing(bench: JiraBench) -> None:
    """Negative control, and why `settle` is a minute."""
    await bench.system.ping()
    bench.site.switch_on(Fault("find", "lag", times=None))
    bench.lose_answer("create")
    with pytest.raises(TemporaryError):
        await opened(bench)
    assert await bench.system.find("r-1") == []
    bench.site.faults.switch_off()
    assert len(await bench.system.find("r-1")) == 1


async def test_a_phrase_finds_more_than_what_is_equal(bench: JiraBench) -> None:
    """`~` knows words only: what it finds is compared."""
    ticket, _ = await opened(bench)
    await opened(bench, correlation_id="r.1")
    assert [found.id for found in await bench.system.find("r-1")] == [ticket.id]
    assert bench.site.journal.of("search")[-1]["found"] == 2


async def test_what_the_issue_says_counts_and_not_what_the_index_says(bench: JiraBench) -> None:
    """A copy made by a person carries our field; its property says whose it is, or nothing."""
    ticket, _ = await opened(bench)
    other, _ = await opened(bench, correlation_id="r-2")
    bench.site.edit(other.id, {TEXT_FIELD: "r-1"})
    assert [found.id for found in await bench.system.find("r-1")] == [ticket.id]


async def test_a_copy_of_a_plain_issue_is_not_ours(plain: JiraBench) -> None:
    ticket, fields = await opened(plain)
    plain.site.issues.create("ABC", fields, reporter="bob")
    assert [found.id for found in await plain.system.find("r-1")] == [ticket.id]
    assert plain.site.journal.of("search")[-1]["found"] == 2


async def test_a_request_that_broke_off_half_way_is_found_and_marked(bench: JiraBench) -> None:
    bench.site.switch_on(Fault("change", "answer", status=403))
    with pytest.raises(TemporaryError, match="was created, but") as caught:
        await opened(bench)
    assert caught.value.maybe_sent
    (found,) = await bench.system.find("r-1")
    held = bench.site.get_issue(found.id).properties
    assert held == {"approval-proxy": {"correlation_id": "r-1"}}


@pytest.mark.parametrize("text", ['r-1" OR labels = "x', "r-1\\", "r-1\n", ""])
@pytest.mark.parametrize("field", ["labels", TEXT_FIELD])
async def test_nothing_can_widen_a_search(text: str, field: str) -> None:
    async with jira_bench(correlation_field=field) as bench:
        with pytest.raises(PermanentError, match="cannot be used in a JQL query"):
            await bench.system.find(text)


async def test_a_field_that_is_not_there_is_a_matter_of_configuration() -> None:
    async with jira_bench(correlation_field="customfield_1") as bench:
        with pytest.raises(ConfigurationError, match=r"cf\[1\]' does not exist.*see it\?"):
            await bench.system.ping()


async def test_a_request_type_that_does_not_fit_is_told_before_anything_is_opened() -> None:
    request = {**REQUEST, "fields": {"customfield_7": "x"}}
    async with jira_bench(request=request, on_behalf_of_requester=True) as bench:
        bench.site.may_act_for_others = False
        assert isinstance(bench.system, Preflight)
        with pytest.raises(ConfigurationError) as caught:
            await bench.system.preflight_checks()["request type"]()
    assert "has no field customfield_7" in str(caught.value)
    assert "on behalf of others" in str(caught.value)


@pytest.mark.parametrize("cloud", [True, False])
async def test_an_issue_type_that_does_not_fit_is_told_before_anything_is_opened(
    cloud: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    declared = {"issue": ISSUE, "correlation_field": "labels", **BY_STATUS}
    async with jira_bench({"cloud": cloud}, **declared) as bench:
        assert isinstance(bench.system, Preflight)
        found = await bench.system.preflight_checks()["issue type"]()
        assert found.proven
        bench.site.required = ("customfield_9",)
        with pytest.raises(ConfigurationError, match="it requires customfield_9"):
            await bench.system.preflight_checks()["issue type"]()
    async with jira_bench(
        {"cloud": cloud}, **declared | {"issue": {**ISSUE, "type": "Bug"}}
    ) as bench:
        assert isinstance(bench.system, Preflight)
        with pytest.raises(ConfigurationError, match=r"has no issue type 'Bug'.*it has Task"):
            await bench.system.preflight_checks()["issue type"]()


# -- where it starts ---------------------------------------------------------------------------

START = {"transition": "Ask for approval", "status": "Waiting for approval"}


async def test_a_new_ticket_is_taken_to_its_start() -> None:
    async with jira_bench({"initial": "Open"}, start=START) as bench:
        ticket, _ = await opened(bench)
        assert bench.site.get_issue(ticket.id).state.status == "Waiting for approval"
        assert ticket.note == ""


async def test_a_start_that_is_not_reached_is_told_and_no_doubt() -> None:
    async with jira_bench({"initial": "Open"}, start={**START, "transition": "Begin"}) as bench:
        ticket, _ = await opened(bench)
        assert "did not reach its start 'Waiting for approval'" in ticket.note
        assert "no transition 'Begin': Ask for approval, Cancel request" in ticket.note
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.PENDING


async def test_a_ticket_that_was_found_again_is_started_too() -> None:
    async with jira_bench({"initial": "Open"}, start=START) as bench:
        bench.lose_answer("create")
        with pytest.raises(TemporaryError):
            await opened(bench)
        (found,) = await bench.system.find("r-1")
        assert bench.site.get_issue(found.id).state.status == "Waiting for approval"
        bench.decide(found.id, "approved")
        await bench.system.find("r-1")
        assert bench.site.get_issue(found.id).state.status == "In progress"


# -- what is decided ---------------------------------------------------------------------------


async def test_no_approvals_are_no_approval() -> None:
    async with jira_bench({"initial": "Open"}) as bench:
        ticket, _ = await opened(bench)
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.native_status) == (Outcome.PENDING, "Open")


async def test_who_approved_stands_in_the_approval(bench: JiraBench) -> None:
    ticket, _ = await opened(bench)
    bench.site.decide(ticket.id, "approved", by="olga")
    read = await bench.system.fetch(ticket.id)
    assert (read.outcome, read.native_status) == (Outcome.APPROVED, "approved")
    assert read.decided_by == "olga"
    assert set(read.deciders) == {"olga", "olga@company.com", account("olga", cloud=True)}
    assert read.decided_at.endswith("Z")


async def test_the_first_of_two_steps_approves_nothing() -> None:
    async with jira_bench({"steps": 2}, approvals={"steps": 2}) as bench:
        ticket, _ = await opened(bench)
        bench.site.decide(ticket.id, "approved", by="olga")
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.PENDING
        bench.site.decide(ticket.id, "approved", by="piotr")
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.decided_by) == (Outcome.APPROVED, "piotr")
        assert {"olga", "piotr"} < set(read.deciders)


async def test_one_declined_step_declines() -> None:
    async with jira_bench({"steps": 2}, approvals={"steps": 2}) as bench:
        ticket, _ = await opened(bench)
        bench.site.decide(ticket.id, "approved", by="olga")
        bench.site.decide(ticket.id, "rejected", by="piotr")
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.deciders[0]) == (Outcome.REJECTED, "piotr")
        assert "olga" not in read.deciders


async def test_a_read_that_is_late_decides_nothing_early(bench: JiraBench) -> None:
    """An event wakes us, and the API still shows what was before."""
    ticket, _ = await opened(bench)
    bench.site.decide(ticket.id, "approved")
    for operation in ("read", "approval"):
        bench.site.switch_on(Fault(operation, "stale"))
    assert (await bench.system.fetch(ticket.id)).outcome is Outcome.PENDING
    assert (await bench.system.fetch(ticket.id)).outcome is Outcome.APPROVED


async def test_a_request_that_was_closed_without_an_approval_is_no_approval(
    bench: JiraBench,
) -> None:
    ticket, _ = await opened(bench)
    bench.site.decide(ticket.id, "Done")
    read = await bench.system.fetch(ticket.id)
    assert (read.outcome, read.native_status) == (None, "Done")  # an alarm names it
    bench.site.decide(ticket.id, "Canceled")
    assert (await bench.system.fetch(ticket.id)).outcome is Outcome.CANCELLED


async def test_fulfilment_is_a_status(bench: JiraBench) -> None:
    ticket, _ = await opened(bench)
    bench.decide(ticket.id, "approved")
    assert (await bench.system.fetch(ticket.id)).fulfilment is None
    bench.site.decide(ticket.id, "Done")
    read = await bench.system.fetch(ticket.id)
    assert (read.outcome, read.fulfilment) == (Outcome.APPROVED, Fulfilment.FULFILLED)


@pytest.mark.parametrize("site", SITES)
async def test_a_status_decides_and_its_history_says_who(site: Mapping[str, Any]) -> None:
    async with jira_bench(site, issue=ISSUE, **BY_STATUS) as bench:
        ticket, _ = await opened(bench)
        bench.site.decide(ticket.id, "Open", by="bob")  # no word of the map, but nothing is over
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.PENDING
        bench.site.decide(ticket.id, "In progress", by="olga")
        bench.site.edit(ticket.id, {"labels": ["x"]}, by="bob")
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.decided_by) == (Outcome.APPROVED, "olga")
        assert "olga@company.com" in read.deciders
        assert read.decided_at


async def test_a_resolution_decides_and_none_is_pending() -> None:
    async with jira_bench(issue=ISSUE, **BY_RESOLUTION) as bench:
        ticket, _ = await opened(bench)
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.PENDING
        bench.site.decide(ticket.id, "Done", by="olga")
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.native_status, read.decided_by) == (
            Outcome.APPROVED,
            "Done",
            "olga",
        )


async def test_a_changed_description_changes_the_key_fields(bench: JiraBench) -> None:
    ticket, _ = await opened(bench)
    before = await bench.system.fetch(ticket.id)
    bench.site.edit(ticket.id, {"labels": ["seen"]})
    assert (await bench.system.fetch(ticket.id)).key_fields == before.key_fields
    bench.site.edit(ticket.id, {"description": "access to everything"})
    assert (await bench.system.fetch(ticket.id)).key_fields != before.key_fields


@pytest.mark.parametrize("many", ["", "many"])
async def test_what_was_approved_is_what_the_ticket_says_now(
    bench: JiraBench, many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed and approved between our two looks: the change must be seen with the approval."""
    assert isinstance(bench.system, FetchesMany)
    ticket, _ = await opened(bench)
    before = await bench.system.fetch(ticket.id)
    look = Site.values

    async def meanwhile(site: Site, path: str) -> Any:
        bench.site.edit(ticket.id, {"description": "access to everything"})
        bench.site.decide(ticket.id, "approved")
        return await look(site, path)

    monkeypatch.setattr(Site, "values", meanwhile)
    if many:
        read = (await bench.system.fetch_many([ticket.id]))[ticket.id]
    else:
        read = await bench.system.fetch(ticket.id)
    assert read.outcome is Outcome.APPROVED
    assert read.key_fields != before.key_fields


async def test_statuses_may_be_compared_without_their_case() -> None:
    async with jira_bench(closed={"CANCELED": "cancelled"}, status_case="ignore") as bench:
        ticket, _ = await opened(bench)
        bench.site.decide(ticket.id, "Canceled")
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.CANCELLED


async def test_a_moved_issue_is_followed_by_its_id_and_has_a_new_key(bench: JiraBench) -> None:
    ticket, _ = await opened(bench)
    bench.site.move(ticket.id, "OLD")
    bench.site.decide(ticket.id, "approved")
    read = await bench.system.fetch(ticket.id)
    assert (read.id, read.outcome) == (ticket.id, Outcome.APPROVED)
    assert read.key.startswith("OLD-")
    assert read.url.endswith(read.key)
    assert (await bench.system.fetch("ACC-1")).id == ticket.id  # as people may name it


async def test_a_deleted_issue_is_not_found(bench: JiraBench) -> None:
    ticket, _ = await opened(bench)
    bench.site.delete(ticket.id)
    with pytest.raises(NotFoundError, match="does not exist or you do not have permission"):
        await bench.system.fetch(ticket.id)
    assert await bench.system.find("r-1") == []


# -- many at once ------------------------------------------------------------------------------


async def test_many_issues_are_read_in_one_call(plain: JiraBench) -> None:
    assert isinstance(plain.system, FetchesMany)
    tickets = [
        (await opened(plain, correlation_id=f"r-{number}"))[0] for number in range(MOST_FETCHED)
    ]
    plain.site.decide(tickets[3].id, "approved", by="olga")
    plain.site.delete(tickets[4].id)
    wanted = [ticket.id for ticket in tickets]
    asked = len(plain.site.journal.entries)
    found = await plain.system.fetch_many(wanted)
    assert len(plain.site.journal.of("bulkfetch")) == 1
    assert len(plain.site.journal.entries) == asked + 1 + len(found) + 1  # and one history
    assert set(found) == set(wanted) - {tickets[4].id}
    assert found[tickets[3].id] == await plain.system.fetch(tickets[3].id)
    assert found[tickets[3].id].decided_by == "olga"


async def test_many_requests_are_read_with_their_approvals(bench: JiraBench) -> None:
    assert isinstance(bench.system, FetchesMany)
    tickets = [(await opened(bench, correlation_id=f"r-{number}"))[0] for number in range(5)]
    bench.site.decide(tickets[0].id, "approved")
    found = await bench.system.fetch_many([ticket.id for ticket in tickets])
    outcomes = [found[ticket.id].outcome for ticket in tickets]
    assert outcomes == [Outcome.APPROVED, *[Outcome.PENDING] * 4]


@pytest.mark.parametrize(
    "declared", [{}, {"correlation_field": "labels"}, {"issue": ISSUE, **BY_STATUS}]
)
@pytest.mark.parametrize("site", SITES)
async def test_changes_are_found_over_pages_within_one_minute_in_any_zone(
    declared: dict[str, Any], site: Mapping[str, Any]
) -> None:
    """The site is ahead of us by hours, and our account is in another zone than its clock."""
    far = {**site, "skew": 3 * HOUR, "zone": -8 * 60}
    async with jira_bench(far, **declared) as bench:
        for number in range(PAGE + 3):
            fields = {
                "summary": "x",
                "labels": ["approval-proxy", f"c{number}"],
                TEXT_FIELD: f"c{number}",
            }
            bench.site.issues.create("ABC", fields, reporter="ada")
        bench.site.issues.create("ABC", {"summary": "a stranger's"}, reporter="ada")
        ours = {issue.id for issue in bench.site.issues if issue.state.fields.get(TEXT_FIELD)}
        assert isinstance(bench.system, ListsChanges)
        latest = max((await bench.system.changes(0)).values())
        assert await listed(bench, latest - MINUTE) == ours
        assert await listed(bench, latest + 1) == set()


@pytest.mark.parametrize("whose", ["the site's clock", "our clock"])
async def test_how_long_ago_is_said_by_the_clock_of_the_site(
    monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """The site is ahead by hours; with our own clock (the negative control) changes are missed."""
    clock = ManualClock()

    async def by_ours(_: Site, moment: int) -> int:
        return max(1, (clock.now() - moment) // MINUTE + 2)

    async with jira_bench({"clock": clock, "skew": 3 * HOUR, "zone": 9 * 60}) as bench:
        ticket, _ = await opened(bench)
        changed = bench.site.get_issue(ticket.id).state.updated
        clock.advance(30 * MINUTE)
        if whose == "our clock":
            monkeypatch.setattr(Site, "minutes_since", by_ours)
        assert await listed(bench, changed) == ({ticket.id} if whose != "our clock" else set())


@pytest.mark.parametrize("site", SITES)
async def test_an_issue_that_changes_while_we_page_hides_no_other(site: Mapping[str, Any]) -> None:
    async with jira_bench(site) as bench:
        for number in range(PAGE + 20):
            bench.site.issues.create("ACC", {TEXT_FIELD: f"c{number}"}, reporter="ada")
        ours = [issue.id for issue in bench.site.issues]

        def changed() -> None:
            for number in ours[:30]:
                bench.site.issues.edit(bench.site.get_issue(number), {"summary": "y"}, by="ada")

        bench.site.after_page(changed)
        assert await listed(bench, 0) == set(ours)


# -- what people and Jira say ------------------------------------------------------------------


async def test_comments_are_text(bench: JiraBench, plain: JiraBench) -> None:
    for each in (bench, plain):
        ticket, _ = await opened(each)
        assert isinstance(each.system, Comments)
        await each.system.comment(ticket.id, "done: [x|http://x]\n  by us")
    (said,) = bench.site.journal.of("comment")
    assert (said["text"], said["public"]) == ("done: \\[x\\|http://x\\]\n\u00a0\u00a0by us", True)
    (said,) = plain.site.journal.of("comment")
    assert texts_of(said["text"]) == ["done: [x|http://x]", "\u00a0\u00a0by us"]


async def test_a_ticket_is_withdrawn_by_declining_its_approvals() -> None:
    async with jira_bench(cancel={"answer": "decline"}) as bench:
        assert isinstance(bench.system, Cancels)
        ticket, _ = await opened(bench)
        await bench.system.cancel(ticket.id, "no longer needed")
        read = await bench.system.fetch(ticket.id)
        assert (read.outcome, read.decided_by) == (Outcome.REJECTED, "approval-proxy")
        with pytest.raises(ConflictError):
            await bench.system.cancel(ticket.id, "again")


async def test_an_approval_that_somebody_answers_meanwhile_is_a_conflict() -> None:
    async with jira_bench(cancel={"answer": "decline"}) as bench:
        assert isinstance(bench.system, Cancels)
        ticket, _ = await opened(bench)
        bench.site.decide(ticket.id, "approved")
        for operation in ("read", "approval"):
            bench.site.switch_on(Fault(operation, "stale", times=2))
        with pytest.raises(ConflictError, match="answered already"):
            await bench.system.cancel(ticket.id, "no longer needed")


async def test_a_transition_that_is_not_there_any_more_is_a_conflict(bench: JiraBench) -> None:
    assert isinstance(bench.system, Cancels)
    ticket, _ = await opened(bench)
    bench.site.decide(ticket.id, "Escalated")
    with pytest.raises(ConflictError, match="no transition 'Cancel request'"):
        await bench.system.cancel(ticket.id, "no longer needed")


@pytest.mark.parametrize("reason", LIMITS)
async def test_each_rate_limit_says_its_name_and_when_it_ends(
    bench: JiraBench, reason: str
) -> None:
    bench.site.switch_on(rate_limit("find", reason, until="2100-01-01T00:00:00Z"))
    with pytest.raises(TemporaryError, match=reason) as caught:
        await bench.system.find("r-1")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 365 * 24 * HOUR
    assert not caught.value.maybe_sent
    bench.site.switch_on(rate_limit("find", reason, until="2100-01-01T00:00:00Z", retry_after="9"))
    with pytest.raises(TemporaryError) as caught:
        await bench.system.find("r-1")
    assert caught.value.retry_after == 9_000


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"issue": {**ISSUE, "fields": {"customfield_9": "x"}}, **BY_STATUS}, "customfield_9: Fie"),
        ({"request": {**REQUEST, "fields": {"customfield_9": "x"}}}, "field 'customfield_9' is no"),
        ({"issue": {**ISSUE, "fields": {"labels": ["a b"]}}, **BY_STATUS}, "labels: The label 'a"),
        ({"request": {**REQUEST, "request_type": "7"}}, "Service Desk with the specified ID"),
    ],
)
async def test_an_error_names_the_field(declared: dict[str, Any], said: str) -> None:
    async with jira_bench(**declared) as bench:
        with pytest.raises(PermanentError) as caught:
            await opened(bench)
        assert said in str(caught.value)


async def test_an_event_of_an_app_comes_with_a_token() -> None:
    async with jira_bench(events={"auth": "jwt"}) as bench:
        assert isinstance(bench.system, PushesEvents)
        ticket, _ = await opened(bench)
        shown = {"id": ticket.id, "key": ticket.key}
        event_id, headers, body = with_token(SECRET, "updated", shown, NOW)
        hint = bench.system.read_event(headers, body, now=NOW)
        assert hint.refs == (ticket.id, ticket.key)
        _, forged, _ = with_token("another secret", "updated", shown, NOW)
        for sent, now in ((forged, NOW), (headers, NOW + HOUR), ({}, NOW)):
            with pytest.raises(UnauthorizedError):
                bench.system.read_event(sent, body, now=now)
        again = {**headers, "X-Atlassian-Webhook-Retry": "1"}
        assert bench.system.read_event(again, body, now=NOW + 1) == hint
        assert headers["X-Atlassian-Webhook-Identifier"] == event_id


# -- declarations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"request": None}, "needs one of request"),
        ({"issue": ISSUE}, "needs one of request"),
        ({"request": None, "issue": ISSUE}, "only a request has approvals"),
        ({"decide_by": "status"}, "decision must say what each status means"),
        ({"closed": {"Done": "approved"}}, "closed cannot approve"),
        ({**BY_STATUS, "closed": {"Done": "rejected"}}, "closed needs decide_by: approvals"),
        ({"request": {**REQUEST, "fields": {"summary": "{{ verbe }}"}}}, "did you mean 'verb'"),
        ({"request": {**REQUEST, "fields": {TEXT_FIELD: "x"}}}, "is written by the proxy itself"),
        ({"request": {**REQUEST, "service_desk": "../x"}}, "pattern"),
        ({"correlation_field": "summary"}, "must be labels or a customfield"),
        ({"cancel": {}}, "needs one of transition and answer"),
        ({"cancel": {"transition": "x", "answer": "decline"}}, "needs one of transition"),
        ({"site_url": "javascript:alert(1)"}, "must be an http"),
        ({"overlap": "1s"}, "greater than or equal to 60000"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    known = {"base_url": "https://x", "request": REQUEST, "correlation_field": TEXT_FIELD}
    with pytest.raises(ValueError, match=problem):
        JiraDeclaration.model_validate({**known, **changes})


async def test_what_we_recommend_opens_a_request_and_reads_its_decision(tmp_path: Path) -> None:
    file = EXAMPLE.parent / "jira.yaml"
    system = load(write_example(tmp_path, file), {}).ticket_systems["jsm"]
    assert system.event_secrets() == (f"{CANARY}-jira-webhook-secret".encode(),)
    declared = system.declaration.model_dump(
        mode="json", exclude={"kind", "base_url", "deployment"}
    )
    async with jira_bench(**declared) as bench:
        await bench.system.ping()
        ticket, _ = await opened(bench, requester_email="ada@company.com")
        assert bench.site.get_issue(ticket.id).reporter == "ada"
        assert ticket.url == f"https://example.atlassian.net/browse/{ticket.key}"
        bench.site.decide(ticket.id, "approved")
        assert (await bench.system.fetch(ticket.id)).outcome is Outcome.APPROVED
