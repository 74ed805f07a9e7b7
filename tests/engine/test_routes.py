"""Routes: chosen at admission, and the same from then on, whatever the settings say later."""

import asyncio
from dataclasses import replace
from typing import NoReturn

import orjson
import pytest

from proxy.domain.models import Record, State
from proxy.domain.route import Guards, PollSchedule, Route
from proxy.domain.routing import Rule
from proxy.engine.routes import Routes, freeze, thaw
from proxy.errors import ConfigurationError, InvalidRequestError, PermanentError
from proxy.store.requests import RequestStore
from proxy.store.routes import RouteStore
from proxy.tickets.no_tickets import NoTickets
from tests.domain.test_routing import request, route, rule

UNROUTABLE = replace(route("unroutable"), system="", decide="hold", reason="No route applies")
FULL = replace(
    route("full"),
    poll=PollSchedule(first=1, factor=2.0, slowest=3, safety_net=4),
    declaration={"create": {"path": "/tickets"}, "allowed_fields": ["verb"]},
    guards=Guards(self_approval="allow", own_accounts=["robot"], approver_groups=["owners"]),
    write_back=True,
    announce=True,
    reason="because",
)


class Desk(NoTickets):
    """What `open_system` gives; all that matters here is under which route it was opened."""

    def __init__(self, route: Route) -> None:
        super().__init__(route.name)
        self.route = route


def routes(store: RequestStore, *rules: Rule, opened: list[Route] | None = None) -> Routes:
    def open_system(route: Route) -> Desk:
        if opened is not None:
            opened.append(route)
        return Desk(route)

    return Routes(
        rules=rules, otherwise=UNROUTABLE, store=RouteStore(store), open_system=open_system
    )


def admitted_under(digest: str) -> Record:
    return Record("ar1", State.PENDING, "main", "desk", digest, "c", "x", 0, 1_000)


def unread() -> NoReturn:
    pytest.fail("the request was read, though no condition looks at it")


# -- frozen --------------------------------------------------------------------------------------


def test_a_frozen_route_comes_back_as_it_was() -> None:
    digest, text = freeze(FULL)
    assert thaw(text) == FULL
    assert (len(digest), int(digest, 16) > 0) == (16, True)


def test_a_routes_hash_is_that_of_what_it_says_and_not_of_how_it_is_written() -> None:
    backwards = dict(reversed([*FULL.declaration.items()]))
    assert freeze(replace(FULL, declaration=backwards)) == freeze(FULL)
    assert freeze(replace(FULL, poll=PollSchedule()))[0] != freeze(FULL)[0]


def test_another_versions_route_is_understood() -> None:
    """A newer one says more, in every part; one of before the guards says nothing of them."""
    found = orjson.loads(freeze(FULL)[1])
    newer = {part: {**found[part], "new": 1} for part in ("poll", "guards")}
    assert thaw(orjson.dumps({**found, **newer, "new": 1})) == FULL
    del found["guards"]
    assert thaw(orjson.dumps(found)) == replace(FULL, guards=Guards())


# -- chosen --------------------------------------------------------------------------------------


async def test_the_first_rule_that_applies_is_taken_with_its_hash(store: RequestStore) -> None:
    finance, rest = rule("finance", "domain == 'finance'"), rule("rest")
    chosen = routes(store, finance, rest)
    assert chosen.choose(request) == (freeze(finance.route)[0], finance.route)
    sales = request(fields={"domain": "sales"})
    assert chosen.choose(lambda: sales) == (freeze(rest.route)[0], rest.route)


async def test_what_no_rule_takes_goes_the_other_way(store: RequestStore) -> None:
    chosen = routes(store, rule("hr", "domain == 'hr'"))
    assert chosen.choose(request) == (freeze(UNROUTABLE)[0], UNROUTABLE)


async def test_a_request_is_read_only_where_a_condition_looks_at_it(store: RequestStore) -> None:
    def taken(*rules: Rule) -> str:
        return routes(store, *rules).choose(unread)[1].name

    assert taken(rule("all"), rule("finance", "domain == 'finance'")) == "all"
    assert taken() == "unroutable"


async def test_a_trial_takes_the_first_route_to_its_system(store: RequestStore) -> None:
    to_jira = Rule(replace(route("jira"), system="jira"))
    at_once = Rule(replace(route("at once"), system="", decide="approve"))
    every = routes(store, at_once, rule("first"), to_jira, rule("second"))
    assert every.first_to("desk") == (freeze(route("first"))[0], route("first"))
    assert every.first_to("jira") == (freeze(to_jira.route)[0], to_jira.route)
    for unknown in ("dsek", ""):
        with pytest.raises(InvalidRequestError) as caught:
            every.first_to(unknown)
        says = f"system: no route leads to {unknown!r}; routes lead to desk, jira"
        assert str(caught.value) == says
    with pytest.raises(InvalidRequestError, match=r"routes lead to none$"):
        routes(store, at_once).first_to("desk")


# -- found again ---------------------------------------------------------------------------------


async def test_a_request_keeps_the_route_of_its_admission(store: RequestStore) -> None:
    """Other settings have other routes; its own is thawed once, however many ask for it."""
    before = routes(store, Rule(FULL))
    await before.publish()
    record = admitted_under(before.choose(unread)[0])
    opened: list[Route] = []
    after = routes(store, Rule(replace(FULL, announce=False)), opened=opened)
    opened.clear()

    first, second = await asyncio.gather(after.for_record(record), after.for_record(record))

    assert opened == [FULL]
    for found, system in (first, second):
        assert found == FULL
        assert isinstance(system, Desk)
        assert system.route == FULL


async def test_a_route_of_these_settings_needs_no_store(store: RequestStore) -> None:
    """It was opened when the settings were read, so its mistakes were told then."""
    opened: list[Route] = []
    chosen = routes(store, Rule(FULL), opened=opened)
    assert opened == [FULL]
    found, system = await chosen.for_record(admitted_under(freeze(FULL)[0]))
    assert found is FULL
    assert isinstance(system, Desk)
    assert opened == [FULL]


async def test_a_route_that_decides_at_once_has_no_tickets_and_says_so(store: RequestStore) -> None:
    found, system = await routes(store).for_record(admitted_under(freeze(UNROUTABLE)[0]))
    assert found is UNROUTABLE
    assert not isinstance(system, Desk)
    with pytest.raises(PermanentError, match="route unroutable has no ticket system"):
        await system.ping()


async def test_a_route_that_the_store_lost_is_told_with_its_request(store: RequestStore) -> None:
    lost = routes(store, Rule(FULL))
    with pytest.raises(ConfigurationError) as caught:
        await lost.for_record(admitted_under("0123456789abcdef"))
    assert str(caught.value).startswith("request ar1 was admitted under route 0123456789abcdef,")
    assert "was a part of the store lost?" in str(caught.value)
