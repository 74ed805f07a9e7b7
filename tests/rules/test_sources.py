"""Every module keeps the rules for names, prose and size that CONTRIBUTING states.

Each rule has a negative control: a source that breaks it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import proxy
from tests.support.source_rules import (
    bad_docstrings,
    bad_identifiers,
    bad_phrases,
    prose_of,
    too_long,
)

ROOT: Final = Path(proxy.__file__).parents[1]
MODULES: Final = sorted((ROOT / "proxy").rglob("*.py"))
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SCRIPTS: Final = sorted((ROOT / "proxy").rglob("*.lua"))
Rule = Callable[[str], Iterator[str]]
PUBLIC: Final = {
    "proxy/store/transfer/exporter.py: words",  # a field of the export format
    "proxy/tickets/declaring/calls.py: found",  # a key of the settings
}
"""Stored and public names, which never change."""


def phrases_of_python(source: str) -> Iterator[str]:
    for text in prose_of(source):
        yield from bad_phrases(text)


def violations(rule: Rule, paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {violation}"
        for path in paths
        for violation in rule(path.read_text())
        if f"{path.relative_to(ROOT)}: {violation.rpartition(': ')[2]}" not in PUBLIC
    ]


@pytest.mark.parametrize(
    ("rule", "paths"),
    [
        pytest.param(bad_docstrings, MODULES, id="docstrings"),
        pytest.param(bad_identifiers, MODULES, id="identifiers"),
        pytest.param(phrases_of_python, MODULES, id="phrases in modules"),
        pytest.param(bad_phrases, SCRIPTS, id="phrases in Lua"),
        pytest.param(bad_phrases, PAGES, id="phrases in pages"),
        pytest.param(too_long, MODULES, id="sizes"),
    ],
)
def test_every_source_keeps_the_rule(rule: Rule, paths: list[Path]) -> None:
    assert paths
    found = violations(rule, paths)
    assert not found, "\n".join([f"{len(found)} violations:", *found])


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (bad_docstrings, '"""What a thing is."""\n'),
        (bad_docstrings, 'def f() -> None:\n    """Whether it is so."""\n'),
        (bad_docstrings, 'class A:\n    """Who calls."""\n'),
        (bad_identifiers, "found = 1\n"),
        (bad_identifiers, "def f(_known: int) -> None: ...\n"),
        (bad_identifiers, "async def mind_this() -> None: ...\n"),
        (bad_identifiers, "class Told: ...\n"),
        (phrases_of_python, "# it lies beside the record\n"),
        (phrases_of_python, 'message = "that is no request"\n'),
        (bad_phrases, "The ticket is told by a comment."),
        (too_long, "\n" * 301),
        (too_long, "def f() -> None:\n" + "    pass\n" * 40),
    ],
)
def test_a_source_that_breaks_the_rule_is_named(rule: Rule, source: str) -> None:
    assert list(rule(source))


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (bad_docstrings, '"""The thing."""\n'),
        (bad_identifiers, "items = [item for item in ()]\n"),
        (phrases_of_python, 'event_code = "Told"\n'),
        (bad_phrases, "The alarm `ticket_untold` and the field untold keep their names."),
        (too_long, "def f() -> None:\n" + "    pass\n" * 39),
    ],
)
def test_a_source_that_keeps_the_rule_is_not_named(rule: Rule, source: str) -> None:
    assert not list(rule(source))
