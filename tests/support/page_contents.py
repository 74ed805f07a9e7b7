"""Checks of single pages, each of which must name all that there is of something.

Each returns problems, as those of `page_checks` do.
"""

import re
from itertools import pairwise
from typing import Final

from proxy.cli.commands.requests import SIMPLE
from proxy.domain.lifecycle import TRANSITIONS
from proxy.domain.remediation import REMEDIATION
from proxy.observability.alarms import Alarm
from proxy.store.codec import ADMITTED, HISTORY_NAMES, RECORD_NAMES
from tests.support.pages import Page

_CHANGES: Final = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def terms_of(page: Page) -> list[str]:
    return re.findall(r"^- \*\*(.+?)\*\*: \S", page.section("Terms"), re.MULTILINE)


def out_of_order(terms: list[str]) -> list[str]:
    folded = [term.casefold() for term in terms]
    return [b for a, b in pairwise(folded) if a >= b]


def alarms_not_explained(page: Page) -> list[str]:
    """Return the alarms without a section that says what they mean and what to do."""
    titles = [title.strip("`") for title in page.headings(3)]
    unsaid = [
        title
        for title in titles
        for word in ("Means", "Do")
        if not re.search(rf"^\*\*{word}\*\*: \w", page.section(f"`{title}`"), re.MULTILINE)
    ]
    return sorted(set(Alarm) ^ set(titles)) + unsaid


def reasons_not_explained(page: Page) -> list[str]:
    """Return the reasons to hold a request, or to give it up, without a section of their own."""
    section = page.section("What to do when a request is held")
    return sorted(set(REMEDIATION) ^ set(re.findall(r"^### `(\w+)`$", section, re.MULTILINE)))


def actions_not_named(page: Page) -> list[str]:
    """Return the actions of operators that a page does not mention."""
    named = re.findall(r"`(?:approval-proxy )?requests (\w+)", page.text)
    return sorted({"list", "show", "retry", "attach", *SIMPLE} - set(named))


def promises_without_proof(page: Page) -> list[str]:
    """Return the promises that do not say how to see them again, or what was seen last."""
    needed = (r"^- \*\*Run it\*\*: `make ", r"^- \*\*Last result\*\*:")
    return [
        title
        for title in page.headings(3)
        for pattern in needed
        if not re.search(pattern, page.section(title), re.MULTILINE)
    ]


def table_of(page: Page, title: str) -> dict[str, str]:
    """Return a table's first two columns, without backquotes."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", page.section(title), re.MULTILINE)
    return {stored: name.strip("`") for stored, name in rows}


def stored_names_that_differ(page: Page) -> list[str]:
    """Return the titles of tables that differ from the stored names in the code."""
    codes = {kind.event_code: kind.__name__ for kind in TRANSITIONS}
    tables = {
        "Event codes": codes | {ADMITTED: "written by admission"},
        "Fields of a record": {stored: name for name, stored in RECORD_NAMES.items()},
        "Fields of a history line": {stored: name for name, stored in HISTORY_NAMES.items()},
    }
    return [title for title, names in tables.items() if table_of(page, title) != names]


def changelog_problems(page: Page) -> list[str]:
    """Return what differs from the format of Keep a Changelog, with a commit beside each date."""
    unreleased, *released = page.headings(2) or [""]
    problems = [] if unreleased == "[Unreleased]" else ["begins with [Unreleased]"]
    form = r"\[\d+\.\d+\.\d+\] - 20\d\d-\d\d-\d\d \(commit [0-9a-f]{7,40}\)"
    problems += [title for title in released if not re.fullmatch(form, title)]
    return problems + [title for title in page.headings(3) if title not in _CHANGES]
