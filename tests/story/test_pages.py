"""What the pages say is what the program does, and what they name is there.

Every check of `tests.support.page_checks` runs on every page, and on a broken page, where it must
find something.
"""

import re
from pathlib import Path

import pytest
import yaml

from proxy import __version__
from proxy.cli import COMMANDS
from proxy.observability.alarms import Alarm
from proxy.settings import load
from tests.support.page_checks import CHECKS, PACKAGE, Check, command_lines, rules
from tests.support.page_contents import (
    actions_not_named,
    alarms_not_explained,
    changelog_problems,
    out_of_order,
    promises_without_proof,
    reasons_not_explained,
    stored_names_that_differ,
    terms_of,
)
from tests.support.pages import ROOT, Page, pages

PAGES = {page.path.relative_to(ROOT).as_posix(): page for page in pages()}
LARGEST_README = 14_000
BROKEN = {
    "broken_links": ("See [that](missing.md).", "See [that](#nowhere).", "[it](README.md#no)"),
    "unknown_make_targets": ("`make nothing`", "```sh\nmake PYTEST_ARGS=x nothing\n```"),
    "unknown_commands": (
        "`approval-proxy nothing`",
        "`approval-proxy check --nothing`",
        "`requests nothing X`",
        "```sh\nKEY=x approval-proxy serve --nothing  # a comment\n```",
    ),
    "unknown_tests": ("`test_that_does_not_exist`",),
    "missing_files": (
        "`proxy/nothing.py`",
        "`make PYTEST_ARGS=tests/nothing test`",
        "`nothing.py`",
    ),
    "unknown_settings": (
        "`worker.nothing`",
        "`poll.nothing`",
        "`nothing: hold`",
        "`APPROVAL_PROXY__WORKER__NOTHING`",
    ),
    "unknown_variables": ("`APPROVAL_PROXY_NOTHING`",),
    "unknown_metrics": ("`approval_proxy_nothing_total`",),
    "unknown_paths": ("`GET /api/nothing`",),
    "missing_contents": ("no title", "# Title\n\n## Section", "# A\n\nText\n\n## B\n" + "\n" * 100),
    "unproven_rules": ("| rule | test |\n| --- | --- |\n| be good | by hope |\n",),
}


def page_of(text: str) -> Page:
    return Page(ROOT / "docs" / "broken.md", text)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_exists(name: str, check: Check) -> None:
    assert check(PAGES[name]) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [(check, text) for check in CHECKS for text in BROKEN[check.__name__]],
    ids=lambda it: it.__name__ if callable(it) else None,
)
def test_each_check_finds_what_is_wrong(check: Check, text: str) -> None:
    assert len(check(page_of(text))) == 1


def test_checks_see_what_pages_name() -> None:
    """A check whose pattern matches nothing would be content with every page."""
    text = "\n".join(page.text for page in PAGES.values())
    spans = [span for page in PAGES.values() for span in page.spans]
    assert len(set(re.findall(r"`(test_\w+)`", text))) > 80
    assert len([span for span in spans if re.match(r"(?:approval-proxy|requests) ", span)]) > 30
    assert len(rules(PAGES["SECURITY.md"])) > 50
    assert len(rules(PAGES["docs/security-checklists.md"])) > 40
    assert {"demo", "test", "bench", "soak", "crash-points", "compose-test"} <= set(
        re.findall(r"make ([a-z-]+)", text)
    )


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].text.encode()) <= LARGEST_README


def test_every_page_is_found_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([\w/.-]+\.md)", PAGES["README.md"].text))
    assert linked == set(PAGES) - {"README.md"}


def test_the_terms_of_the_glossary_are_in_alphabetical_order_and_named_once() -> None:
    terms = terms_of(PAGES["docs/glossary.md"])
    assert len(terms) > 100
    assert out_of_order(terms) == []


@pytest.mark.parametrize("terms", [["b", "a"], ["a", "a"], ["A", "c", "B"]])
def test_terms_out_of_order_are_found(terms: list[str]) -> None:
    assert out_of_order(terms) != []


@pytest.mark.parametrize("alarm", Alarm)
def test_every_alarm_can_sound(alarm: Alarm) -> None:
    """A rule of a monitoring system on an alarm that nothing sounds would promise to watch."""
    sources = (path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "alarms.py")
    assert any(f"Alarm.{alarm.name}" in source for source in sources)


COMPLETENESS: dict[str, tuple[Check, str]] = {
    "docs/alarms.md": (alarms_not_explained, "### `backlog_full`"),
    "docs/operations.md": (reasons_not_explained, "### `guarded`"),
    "docs/proofs.md": (promises_without_proof, "**Run it**"),
    "docs/glossary.md": (stored_names_that_differ, "| `Told` "),
}


@pytest.mark.parametrize("name", COMPLETENESS)
def test_a_page_names_all_that_there_is(name: str) -> None:
    check, removed = COMPLETENESS[name]
    assert check(PAGES[name]) == []
    assert check(page_of(PAGES[name].text.replace(removed, "", 1))) != []


def test_every_action_of_operators_is_named() -> None:
    page = PAGES["docs/operations.md"]
    assert actions_not_named(page) == []
    assert actions_not_named(page_of(page.text.replace("requests refresh", ""))) == ["refresh"]


def test_every_command_is_named() -> None:
    named = {words[0] for page in PAGES.values() for words in command_lines(page) if words}
    assert named >= set(COMMANDS)


def test_there_are_promises() -> None:
    assert len(PAGES["docs/proofs.md"].headings(3)) > 15


COMPLETE = yaml.safe_load(PAGES["docs/settings.md"].blocks("yaml")[0])
IN_THE_EXAMPLE = {
    "docs/settings.md": [
        "Choose who decides (routes)",
        "Hold unsafe approvals (guards)",
        "Listeners, TLS and client limits",
    ],
    "docs/ticket-systems.md": ["Another ticket system"],
}


def test_the_complete_example_loads(tmp_path: Path) -> None:
    token = tmp_path / "witboost-token"
    token.write_text("wbat-x")
    text = PAGES["docs/settings.md"].blocks("yaml")[0]
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(text.replace("/run/secrets/witboost-token", str(token)))
    settings = load(file, {"DESK_CLIENT_SECRET": "s"})
    assert set(COMPLETE) <= set(type(settings).model_fields)


@pytest.mark.parametrize(
    ("name", "section"), [(name, it) for name, all_of in IN_THE_EXAMPLE.items() for it in all_of]
)
def test_the_settings_of_a_section_load_within_the_example(
    name: str, section: str, tmp_path: Path
) -> None:
    (shown,) = Page(ROOT, PAGES[name].section(section)).blocks("yaml")
    part = yaml.safe_load(shown)
    part.setdefault("routes", [{"name": "default", "system": "desk"}])
    part["ticket_systems"] = COMPLETE["ticket_systems"] | part.get("ticket_systems", {})
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(yaml.safe_dump(COMPLETE | part))
    settings = load(file, {"DESK_CLIENT_SECRET": "s"}, secrets=False)
    assert len(settings.routes) == len(part["routes"])


@pytest.mark.parametrize(
    ("name", "section", "key"),
    [
        ("docs/oauth2.md", "Configure a client", "auth"),
        ("docs/ticket-systems.md", "Receive events (webhooks)", "events"),
    ],
)
def test_a_part_of_a_ticket_system_loads_within_the_example(
    name: str, section: str, key: str, tmp_path: Path
) -> None:
    (shown,) = Page(ROOT, PAGES[name].section(section)).blocks("yaml")
    desk = COMPLETE["ticket_systems"]["desk"] | {key: yaml.safe_load(shown)[key]}
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(yaml.safe_dump(COMPLETE | {"ticket_systems": {"desk": desk}}))
    settings = load(file, {"DESK_CLIENT_SECRET": "s"}, secrets=False)
    assert getattr(settings.ticket_systems["desk"], key) is not None


def test_the_networks_shown_load_within_the_example(tmp_path: Path) -> None:
    """They are parts of sections, which `...` stands for."""
    page = Page(ROOT, PAGES["docs/settings.md"].section("Call private networks (egress policy)"))
    part = yaml.safe_load(page.blocks("yaml")[0].replace(", ...", ""))
    tree = {
        section: {name: COMPLETE[section][name] | more for name, more in part[section].items()}
        for section in ("witboost", "ticket_systems")
    }
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(yaml.safe_dump(COMPLETE | tree))
    assert load(file, {}, secrets=False).witboost["main"].networks


def test_every_yaml_block_is_loaded_by_a_test_or_not_of_ours() -> None:
    """The lists above would miss a new block."""
    counted = {name: len(page.blocks("yaml")) for name, page in PAGES.items()}
    assert {name: count for name, count in counted.items() if count} == {
        "README.md": 2,  # `test_readme` loads the first one; the other is witboost's
        "docs/settings.md": 5,
        "docs/ticket-systems.md": 2,
        "docs/oauth2.md": 1,
    }


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    page = PAGES["CHANGELOG.md"]
    assert changelog_problems(page) == []
    newest = re.findall(r"\d+", page.headings(2)[1])[:3]
    assert [*map(int, __version__.split(".")[:3])] > [*map(int, newest)]


@pytest.mark.parametrize(
    "text",
    [
        "## [0.1.0] - 2026-11-23 (commit a3b724e)\n",
        "## [Unreleased]\n\n## [0.1.0] - 2026-11-23\n",
        "## [Unreleased]\n\n### News\n",
    ],
)
def test_another_form_of_changelog_is_found(text: str) -> None:
    assert len(changelog_problems(page_of(text))) == 1
