"""What bites at a ServiceNow instance, and what the adapter makes of it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.domain.models import Fulfilment, Outcome, Ticket
from proxy.errors import ConfigurationError, NotFoundError, PermanentError, TemporaryError
from proxy.simulators.faults import Fault
from proxy.simulators.servicenow.tables import CATALOG_ITEM
from proxy.tickets.port import (
    Cancels,
    Comments,
    FetchesMany,
    Inspected,
    ListsChanges,
    Preflight,
    PushesEvents,
)
from proxy.tickets.servicenow.client import PAGE
from proxy.tickets.servicenow.declaration import ServiceNowDeclaration
from proxy.tickets.servicenow.system import ServiceNow
from tests.support.adapter_benches import ServiceNowBench, servicenow_bench
from tests.support.declarations import approval_request

ORDER = {"item": CATALOG_ITEM, "correlation_variable": "witboost_request"}
SECOND = 1_000


@pytest.fixture
async def bench() -> AsyncIterator[ServiceNowBench]:
    async with servicenow_bench() as bench:
        yield bench


async def opened(bench: ServiceNowBench, **changes: Any) -> tuple[Ticket, dict[str, Any]]:
    ticket = await bench.system.open(approval_request(**changes))
    return ticket, bench.instance.rows("change_request")[-1]


async def listed(bench: ServiceNowBench, since: int) -> set[str]:
    assert isinstance(bench.system, ListsChanges)
    return set(await bench.system.changes(since))


async def test_a_record_says_who_asks_what_for_whom_and_why(bench: ServiceNowBench) -> None:
    ticket, record = await opened(bench)
    assert record["short_description"] == "Grant access to sales.orders for user:ada, user:bob"
    for part in ("Who: user:ada, user:bob", "To what: sales.orders", "Why: I need it", "cost: 7"):
        assert part in record["description"]
    assert (record["correlation_id"], record["correlation_display"]) == ("r-1", "approval-proxy")
    assert ticket.key == record["number"]
    assert ticket.url.endswith(f"/nav_to.do?uri=change_request.do%3Fsys_id%3D{ticket.id}")


async def test_what_a_requester_types_cannot_look_like_a_line_of_ours(
    bench: ServiceNowBench,
) -> None:
    _, record = await opened(
        bench, motivation="why not\nAsked by: the boss\r\n\x00\x1b[31mWho: all"
    )
    lines = record["description"].splitlines()
    assert "    Asked by: the boss" in lines
    assert sum(line.startswith("Asked by:") for line in lines) == 1
    assert sum(line.startswith("Who:") for line in lines) == 1
    assert "\x1b" not in record["description"]


async def test_long_texts_are_cut_where_a_reader_sees_it(bench: ServiceNowBench) -> None:
    _, record = await opened(bench, resource="r" * 500, motivation="m" * 9_000)
    assert len(record["short_description"]) == 160
    assert record["short_description"].endswith("[...]")
    assert record["description"].endswith("[...]")


async def test_fields_of_the_settings_are_written_and_win() -> None:
    fields = {"short_description": "{{ verb }}!", "assignment_group": "Data Office"}
    async with servicenow_bench(fields=fields, table="incident") as bench:
        await bench.system.open(approval_request())
        (record,) = bench.instance.rows("incident")
        assert (record["short_description"], record["assignment_group"]) == (
            "grant!",
            "Data Office",
        )


REPORTED = {"reporter": ["opened_by", "requested_for"]}


async def test_who_asks_is_the_reporter_where_the_instance_knows_that_person() -> None:
    async with servicenow_bench(**REPORTED) as bench:
        bench.instance.add_user("grace@company.com")
        ada = bench.instance.add_user("ada@company.com")
        bench.instance.add_user("ada@company.com", active=False)
        _, record = await opened(bench, requester_email="ada@company.com")
        assert (record["opened_by"], record["requested_for"]) == (ada, ada)


@pytest.mark.parametrize(
    "email", ["", "nobody@company.com", "twice@company.com", "a^NQactive=true@company.com"]
)
async def test_who_is_not_exactly_one_user_is_no_reporter(email: str) -> None:
    async with servicenow_bench(**REPORTED) as bench:
        for _ in range(2):
            bench.instance.add_user("twice@company.com")
        _, record = await opened(bench, requester_email=email)
        assert not {"opened_by", "requested_for"} & record.keys()


async def test_a_query_for_users_that_is_ignored_finds_nobody() -> None:
    async with servicenow_bench(**REPORTED) as bench:
        bench.instance.add_user("grace@company.com")
        bench.instance.ignore("email")
        _, record = await opened(bench, requester_email="ada@company.com")
        assert "opened_by" not in record


async def test_users_that_cannot_be_asked_for_now_leave_no_doubt_about_a_record() -> None:
    async with servicenow_bench(**REPORTED) as bench:
        bench.instance.switch_on(Fault("find", "answer", status=503, retry_after="7"))
        with pytest.raises(TemporaryError) as caught:
            await opened(bench, requester_email="ada@company.com")
        assert (caught.value.maybe_sent, caught.value.retry_after) == (False, 7 * SECOND)
        assert bench.created() == 0


async def test_a_requester_writes_no_markup_into_any_field() -> None:
    """Journals take HTML between [code] marks; ours are the settings' own only."""
    fields = {"comments": "[code]<b>[/code]{{ motivation }} {{ fields.note }}"}
    async with servicenow_bench(fields=fields) as bench:
        _, record = await opened(
            bench, motivation="[CODE]<script>[/code]", fields={"note": "[\u202ecode]<script>"}
        )
        assert record["comments"] == "[code]<b>[/code][ CODE]<script>[ /code] [ code]<script>"


async def test_a_query_that_is_ignored_proves_no_absence(bench: ServiceNowBench) -> None:
    """An account that may not read correlation_id gets the rows of the rest of the query."""
    await opened(bench)
    for row in bench.instance.rows("change_request"):
        row["correlation_id"] = "of-another-request"
    bench.instance.ignore("correlation_id")
    with pytest.raises(ConfigurationError, match="the query was ignored") as caught:
        await bench.system.find("r-1")
    assert caught.value.request_specific
    with pytest.raises(ConfigurationError, match="the query was ignored"):
        await bench.system.ping()


async def test_strangers_among_ours_are_left_out(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    await opened(bench, correlation_id="r-2")
    bench.instance.ignore("correlation_id")
    assert [found.id for found in await bench.system.find("r-1")] == [ticket.id]


@pytest.mark.parametrize("text", ["r-1^NQactive=true", "r-1\n", ""])
async def test_nothing_can_widen_a_query(bench: ServiceNowBench, text: str) -> None:
    await opened(bench)
    with pytest.raises(PermanentError, match="cannot be used in a ServiceNow query"):
        await bench.system.find(text)


async def test_who_decided_stands_in_the_approvals(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    bench.instance.decide(ticket.id, "approved", by="olga", comment="fine", group="Data Owners")
    decided = await bench.system.fetch(ticket.id)
    assert decided.outcome is Outcome.APPROVED
    assert (decided.decided_by, decided.comment) == ("olga", "fine")
    assert set(decided.deciders) == {"olga", "olga@company.com"}
    assert decided.decider_groups == ("Data Owners",)
    assert decided.decided_at.endswith("Z")


async def test_one_refused_approval_of_many_does_not_say_who_approved(
    bench: ServiceNowBench,
) -> None:
    """The roll-up decides; only the rows that say the same are asked who it was."""
    ticket, _ = await opened(bench)
    bench.instance.decide(ticket.id, "rejected", by="piotr")
    bench.instance.decide(ticket.id, "approved", by="olga")
    decided = await bench.system.fetch(ticket.id)
    assert (decided.outcome, decided.decided_by) == (Outcome.APPROVED, "olga")
    assert "piotr" not in decided.deciders


async def test_many_records_and_who_decided_them_are_two_questions(bench: ServiceNowBench) -> None:
    tickets = [(await opened(bench, correlation_id=f"r-{number}"))[0] for number in range(40)]
    for ticket in tickets[:10]:
        bench.instance.decide(ticket.id, "approved", by=f"olga{ticket.key}")
    bench.instance.decide(tickets[10].id, "approved", by="somebody else")
    bench.instance.decide(tickets[10].id, "rejected", by="piotr")
    asked = len(bench.instance.journal.of("list"))
    assert isinstance(bench.system, FetchesMany)
    found = await bench.system.fetch_many([ticket.id for ticket in tickets])
    assert len(bench.instance.journal.of("list")) - asked == 2
    assert not bench.instance.journal.of("read", listed=False)
    assert found == {ticket.id: await bench.system.fetch(ticket.id) for ticket in tickets}
    assert found[tickets[3].id].decided_by == f"olga{tickets[3].key}"
    assert found[tickets[10].id].decided_by == "piotr"


async def test_a_batch_holds_what_was_asked_for_and_nothing_else(bench: ServiceNowBench) -> None:
    """The instance drops what it does not understand, and answers with other people's records."""
    wanted, _ = await opened(bench)
    await opened(bench, correlation_id="r-2")
    bench.instance.ignore("sys_id")
    assert isinstance(bench.system, FetchesMany)
    no_id = f"{wanted.id}^NQactive=true"
    assert set(await bench.system.fetch_many([wanted.id, no_id, "0" * 32])) == {wanted.id}
    asked = bench.instance.journal.of("list")[-1]["query"]
    assert "NQ" not in asked
    assert not await bench.system.fetch_many([wanted.key, no_id])


async def test_not_required_is_not_approved(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    bench.instance.change(ticket.id, {"approval": "not_required"})
    read = await bench.system.fetch(ticket.id)
    assert (read.outcome, read.native_status) == (None, "not_required")


async def test_fulfilment_stands_in_the_state(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    assert (await bench.system.fetch(ticket.id)).fulfilment is None
    bench.instance.change(ticket.id, {"state": "3"})
    assert (await bench.system.fetch(ticket.id)).fulfilment is Fulfilment.FULFILLED


async def test_a_changed_description_changes_the_key_fields(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    before = await bench.system.fetch(ticket.id)
    bench.instance.change(ticket.id, {"state": "2"})
    assert (await bench.system.fetch(ticket.id)).key_fields == before.key_fields
    bench.instance.change(ticket.id, {"description": "access to everything"})
    assert (await bench.system.fetch(ticket.id)).key_fields != before.key_fields


async def test_people_may_name_a_ticket_by_its_number(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    assert (await bench.system.fetch(ticket.key)).id == ticket.id
    with pytest.raises(NotFoundError, match="CHG9"):
        await bench.system.fetch("CHG9")


async def test_a_deleted_record_is_not_found(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    bench.instance.delete(ticket.id)
    with pytest.raises(NotFoundError, match="ACL restricts the record retrieval"):
        await bench.system.fetch(ticket.id)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"X-RateLimit-Reset": "4102444800"}, True),
        ({"X-RateLimit-Reset": "4102444800", "Retry-After": "9"}, 9 * SECOND),
        ({"X-RateLimit-Reset": "30"}, 30 * SECOND),
        ({"X-RateLimit-Reset": "2100-01-01T00:00:00Z"}, True),
        ({"X-RateLimit-Reset": "soon"}, None),
    ],
)
async def test_a_rate_limit_says_when_it_ends(
    bench: ServiceNowBench, headers: dict[str, str], pause: int | None
) -> None:
    bench.instance.switch_on(Fault("find", "answer", status=429, headers=headers))
    with pytest.raises(TemporaryError) as caught:
        await bench.system.find("r-1")
    if pause is True:
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 1_000 * SECOND
    else:
        assert caught.value.retry_after == pause


async def test_an_error_says_what_failed_and_why(bench: ServiceNowBench) -> None:
    said = {"error": {"message": "Operation Failed", "detail": "Missing required api access scope"}}
    bench.instance.switch_on(Fault("create", "answer", status=403, body=said))
    with pytest.raises(ConfigurationError, match="Operation Failed Missing required api access"):
        await bench.system.open(approval_request())


async def test_all_changes_are_found_over_many_pages_of_one_second() -> None:
    """More records than two pages hold, most of them changed within the same second."""
    async with servicenow_bench() as bench:
        marks = {"correlation_display": "approval-proxy"}
        rows = [
            bench.instance.tables.insert(
                "change_request", {**marks, "correlation_id": f"c{number}"}
            )
            for number in range(2 * PAGE + 50)
        ]
        bench.instance.tables.insert("change_request", {"correlation_id": "a stranger's"})
        assert await listed(bench, 0) == {row.fields["sys_id"] for row in rows}


async def test_a_record_that_moves_while_we_page_hides_no_other() -> None:
    async with servicenow_bench() as bench:
        marks = {"correlation_display": "approval-proxy"}
        rows = [
            bench.instance.tables.insert(
                "change_request", {**marks, "correlation_id": f"c{number}"}
            )
            for number in range(PAGE + 20)
        ]
        for number, row in enumerate(rows):
            row.fields["sys_updated_on"] = f"2026-01-01 00:{number // 60:02}:{number % 60:02}"

        def moved() -> None:
            for row in rows[:30]:
                bench.instance.tables.update(row, {"state": "1"})

        bench.instance.after_page(moved)
        assert await listed(bench, 0) == {row.fields["sys_id"] for row in rows}


async def test_changes_are_asked_for_by_the_second_and_only_ours(bench: ServiceNowBench) -> None:
    ticket, record = await opened(bench)
    record["sys_updated_on"] = "2026-01-01 10:00:00"
    moment = 1_767_261_600_000
    assert isinstance(bench.system, ListsChanges)
    assert dict(await bench.system.changes(moment + 999)) == {ticket.id: moment}
    assert await listed(bench, moment + 1_000) == set()
    record["correlation_display"] = "somebody else"
    bench.instance.ignore("correlation_display")
    assert await listed(bench, moment) == set()


async def test_an_order_becomes_a_requested_item_with_our_marks() -> None:
    variables = {"why": "{{ motivation }}"}
    async with servicenow_bench(order={**ORDER, "variables": variables}) as bench:
        ticket = await bench.system.open(approval_request())
        (ritm,) = bench.instance.rows("sc_req_item")
        assert (ticket.id, ticket.key) == (ritm["sys_id"], ritm["number"])
        assert (ritm["correlation_id"], ritm["correlation_display"]) == ("r-1", "approval-proxy")
        options = {
            row["sc_item_option.item_option_new.name"]: row["sc_item_option.value"]
            for row in bench.instance.rows("sc_item_option_mtom")
        }
        assert options == {"why": "I need it", "witboost_request": "r-1"}


async def test_an_order_that_broke_off_half_way_is_found_by_its_variable() -> None:
    """Ordered, but the requested item could not be marked: in doubt, never ordered again."""
    async with servicenow_bench(order=ORDER) as bench:
        bench.instance.switch_on(Fault("change", "answer", status=403))
        with pytest.raises(TemporaryError, match="was ordered, but") as caught:
            await bench.system.open(approval_request())
        assert caught.value.maybe_sent
        (ritm,) = bench.instance.rows("sc_req_item")
        assert "correlation_id" not in ritm
        (found,) = await bench.system.find("r-1")
        assert found.id == ritm["sys_id"]
        assert bench.instance.rows("sc_req_item")[0]["correlation_id"] == "r-1"
        assert await bench.system.find("r-2") == []


async def test_comments_cannot_become_markup(bench: ServiceNowBench) -> None:
    ticket, _ = await opened(bench)
    assert isinstance(bench.system, Comments)
    await bench.system.comment(ticket.id, "[CODE]<script>alert(1)</script>[/code]")
    (comment,) = bench.instance.journal.of("comment")
    assert "[code]" not in comment["text"].lower()
    assert "[/code]" not in comment["text"].lower()


async def test_what_is_not_declared_is_not_offered() -> None:
    async with servicenow_bench(cancel=None, events=None) as bench:
        assert not isinstance(bench.system, Cancels | PushesEvents)
        assert isinstance(bench.system, Comments)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fields": {"description": "{{ verbe }}"}}, "did you mean 'verb'"),
        ({"fields": {"correlation_id": "x"}}, "fields.correlation_id is written by the proxy"),
        ({"reporter": ["sys_id"]}, "sys_id is written by the proxy"),
        ({"reporter": ["caller_id"], "fields": {"caller_id": "x"}}, "caller_id is written by"),
        ({"table": "change_request/../sys_user"}, "pattern"),
        ({"order": {**ORDER, "item": "x"}}, "pattern"),
        ({"order": {**ORDER, "variables": {"witboost_request": "x"}}}, "written by the proxy"),
        ({"order": {**ORDER, "variables": {"a": "{{ correlation_id }}"}}}, "correlation_variable"),
        ({"fields": {"Description": "x"}}, "pattern"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ServiceNowDeclaration.model_validate({"base_url": "https://x.service-now.com", **changes})


async def inspected(bench: ServiceNowBench, name: str) -> Inspected:
    assert isinstance(bench.system, Preflight)
    return await bench.system.preflight_checks()[name]()


async def test_fields_are_looked_at_in_a_record_that_is_there() -> None:
    async with servicenow_bench(fields={"categroy": "x"}, reporter=["opened_by"]) as bench:
        found = await inspected(bench, "fields")
        assert (found.proven, "no record" in found.message) == (False, True)
        bench.instance.tables.insert("change_request", {"state": "1"})
        with pytest.raises(ConfigurationError, match="shows no categroy: correct the names"):
            await inspected(bench, "fields")
    async with servicenow_bench(fields={"category": "x"}, reporter=["opened_by"]) as bench:
        bench.instance.tables.insert("change_request", {"state": "1"})
        assert (await inspected(bench, "fields")).proven


async def test_a_number_of_two_lines_is_none() -> None:
    async with servicenow_bench() as bench:
        ticket_id = (await opened(bench))[0].id
        record = bench.instance.tables.get("change_request", ticket_id)
        assert record is not None
        bench.instance.tables.update(record, {"number": "CHG1\nCHG2"})
        assert (await bench.system.fetch(ticket_id)).key == ticket_id


async def test_all_calls_of_a_create_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A create that is sent after it could be looked for before it is there."""
    monkeypatch.setattr(ServiceNow, "deadline", 300)  # each call may take longer
    async with servicenow_bench(reporter=["opened_by"]) as bench:
        bench.instance.switch_on(Fault("create", "hang"))
        with pytest.raises(TemporaryError, match="took longer than 300 ms together") as caught:
            await opened(bench, requester_email="ada@company.com")
        assert caught.value.maybe_sent
        bench.instance.faults.switch_off()


@pytest.mark.parametrize(
    ("decision", "problem"),
    [
        ({"requested": "pending", "aproved": "approved"}, "maps aproved, which approval of"),
        ({"approved": "approved"}, "maps nothing to pending"),
    ],
)
async def test_words_that_the_field_never_is_are_told(
    decision: dict[str, str], problem: str
) -> None:
    async with servicenow_bench(decision=decision) as bench:
        with pytest.raises(ConfigurationError, match=problem):
            await inspected(bench, "statuses")


async def test_words_that_are_not_mapped_are_named(bench: ServiceNowBench) -> None:
    found = await inspected(bench, "statuses")
    assert found.proven
    assert "with an alarm: duplicate, not_required" in found.message
    bench.instance.tables.clear("sys_choice")
    assert not (await inspected(bench, "statuses")).proven


async def test_whether_people_are_shown_is_told() -> None:
    async with servicenow_bench(reporter=["opened_by"]) as bench:
        with pytest.raises(ConfigurationError, match="let it read sys_user"):
            await inspected(bench, "users")
        bench.instance.add_user("ada@company.com")
        assert (await inspected(bench, "users")).proven
        assert not (await inspected(bench, "approvals")).proven
        ticket = await bench.system.open(approval_request())
        bench.instance.decide(ticket.id, "approved")
        assert (await inspected(bench, "approvals")).proven
        assert bench.created() == 1  # nothing else was written
