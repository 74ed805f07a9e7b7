"""The hashes of frozen routes: the store finds open requests' routes by them."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.app.destinations import Destinations
from proxy.cli.explain.dry_run import MaskedTokens, Recorder
from proxy.engine.routes import freeze
from proxy.settings import load
from tests.support.manual_clock import ManualClock

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"

HASHES = {
    "approval-proxy": "3dc4bbfc15c19993",
    "freshservice": "79812a3fed84868a",
    "glpi": "3c6c545fb487fc69",
    "jira": "9c7dcb471a274a4c",
    "servicenow": "f28d4865a8c526eb",
    "zendesk": "a3208fba404db780",
}
"""The hash of the only route of each example, as version 0.1.0 (commit 5ab4cf1) froze it."""

UNROUTABLE = "aefc2c7c2e62c06e"


def destinations(example: str, clock: ManualClock) -> Destinations:
    recorder = Recorder()
    tokens = MaskedTokens(outbound=recorder, clock=clock, dice=random.random, tokens=None)
    settings = load(EXAMPLES / f"{example}.yaml", {}, secrets=False)
    return Destinations(settings, recorder, clock, tokens)


@pytest.mark.parametrize("example", HASHES)
def test_a_route_has_the_hash_of_the_first_release(example: str, clock: ManualClock) -> None:
    made = destinations(example, clock)
    assert [freeze(rule.route)[0] for rule in made.rules()] == [HASHES[example]]
    assert freeze(made.unroutable())[0] == UNROUTABLE


@pytest.mark.parametrize("example", HASHES)
def test_a_declaration_is_the_one_that_its_json_describes(example: str, clock: ManualClock) -> None:
    settings = destinations(example, clock).settings
    for system in settings.ticket_systems.values():
        declaration = system.declaration
        assert declaration == type(declaration).model_validate(declaration.model_dump(mode="json"))


def test_a_declaration_holds_no_secret(clock: ManualClock) -> None:
    for example in HASHES:
        for system in destinations(example, clock).settings.ticket_systems.values():
            assert not {"auth", "secret_headers"} & vars(system.declaration).keys()
            if events := system.declaration.events:
                assert "secrets" not in vars(events)


def test_a_changed_setting_changes_the_hash(clock: ManualClock) -> None:
    made = destinations("approval-proxy", clock)
    route = made.rules()[0].route
    system = made.settings.ticket_systems["desk"]
    changed = system.model_copy(update={"settle": system.settle + 1}).declaration
    assert freeze(replace(route, declaration=changed.model_dump(mode="json"))) != freeze(route)
