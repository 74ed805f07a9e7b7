"""Checks of the pages that people read: what a page names must exist.

A check takes one page and returns its problems, each in one line. `tests/story/test_pages.py` runs
all of them on every page, and each on a broken page as a negative control.
"""

import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

import proxy
from proxy.cli import main
from proxy.observability.metrics import Metrics
from proxy.settings import Settings
from proxy.settings.sources import CONFIG, OPERATOR_KEY, OPERATOR_URL, PREFIX
from tests.support.pages import ROOT, Page, slug

PACKAGE: Final = Path(proxy.__file__).parent
EXAMPLES: Final = ("approval-proxy", "servicenow", "jira")
LONG_PAGE: Final = 100
"""Lines, about two screens: a longer page begins with a table of contents."""

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FILE_KINDS: Final = ("py", "json", "yaml", "yml", "md", "lua", "sh", "key", "pem", "toml", "lock")

Check = Callable[[Page], list[str]]


def broken_links(page: Page) -> list[str]:
    """Return the relative links that lead to no file or no heading."""
    problems = []
    for target in _LINK.findall(page.prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        if name and not path.exists():
            problems.append(f"{target}: no such file")
        elif fragment and fragment not in (Page.read(path) if name else page).anchors:
            problems.append(f"{target}: no such heading")
    return problems


def unknown_make_targets(page: Page) -> list[str]:
    """Return the `make` targets that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    calls = re.findall(
        r"(?:`|^|&& )make ((?:[A-Z_]+=(?:'[^']*'|\S+) )*[a-z-]+)", page.text, re.MULTILINE
    )
    return [f"make {call}" for call in calls if call.split()[-1] not in targets]


@cache
def help_of(words: tuple[str, ...]) -> str | None:
    """Return the help of a command of `approval-proxy`, None if there is no such command."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        code = main([*words, "--help"])
    return None if code else printed.getvalue()


def command_lines(page: Page) -> Iterator[list[str]]:
    """Yield the words after `approval-proxy` of every command line on a page.

    In prose, the program's name may be missing: `check --live`.
    """
    for block in page.blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:[A-Z_]+=\S+ )*(?:\S+/)?approval-proxy (.*)", line):
                yield _words(found[1])
    for span in page.spans:
        words = _words(span)
        if words[:1] == ["approval-proxy"] or span.startswith(".venv/bin/approval-proxy "):
            yield words[1:]
        elif len(words) > 1 and re.fullmatch("[a-z]+", words[0]) and help_of((words[0],)):
            yield words


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # no command line
        return []
    ends = [words.index(mark) for mark in (">", "|", "&", "&&") if mark in words]
    return words[: min(ends, default=len(words))]


def unknown_commands(page: Page) -> list[str]:
    """Return the commands and options that `approval-proxy` does not have."""
    problems = []
    for words in command_lines(page):
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
        text = help_of(tuple(words[:first]))
        if text is None:
            problems.append(f"approval-proxy {' '.join(words[:first])}: no such command")
            continue
        known = set(re.findall(r"--[a-z][a-z-]*", text)) | {"--version"}
        problems += [f"{' '.join(words[:first])}: no {it}" for it in options if it not in known]
    return problems


@cache
def tests_defined() -> frozenset[str]:
    """Return the name of every test of the suite."""
    texts = (path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    found = (re.findall(r"^(?:async )?def (test_\w+)\(", it, re.MULTILINE) for it in texts)
    return frozenset(name for names in found for name in names)


def unknown_tests(page: Page) -> list[str]:
    """Return the tests named that the suite does not have."""
    return sorted(
        set(re.findall(r"\b(test_\w+)\b(?![./])", page.prose)) - tests_defined() - _stems()
    )


@cache
def _stems() -> frozenset[str]:
    """Return the names of test modules, which read like those of tests."""
    return frozenset(path.stem for path in ROOT.glob("tests/**/test_*.py"))


def missing_files(page: Page) -> list[str]:
    """Return the paths of this repository that a page names and that do not exist."""
    paths = re.findall(r"(?<![\w/-])((?:tests|proxy|deploy|docs|findings)/[\w./-]*\w)", page.text)
    problems = [it for it in paths if "NAME" not in it and not list(ROOT.glob(it))]
    alone = {span for span in page.spans if re.fullmatch(r"\w+\.(?:py|lua)", span)}
    return problems + [name for name in sorted(alone) if not list(ROOT.glob(f"*/**/{name}"))]


@cache
def _example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f"deploy/examples/{name}.yaml").read_text())
    return found


@cache
def _sections() -> tuple[Mapping[str, Any], ...]:
    """Return every mapping in the complete examples, the outermost first."""
    found: list[Any] = [_example(name) for name in EXAMPLES]
    for tree in found:
        inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
        found += [it for it in inner if isinstance(it, dict | list)]
    return tuple(tree for tree in found if isinstance(tree, dict))


def _has(tree: Any, key: list[str]) -> bool:
    for name in key:
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


def unknown_settings(page: Page) -> list[str]:
    """Return the settings that no complete example has.

    They are written as `section.key`, as `key: value`, or as an environment variable.
    """
    problems = []
    for span in page.spans:
        variable = re.fullmatch(rf"{PREFIX}([A-Z0-9_]+)", span)
        if variable:
            key = variable[1].lower().split("__")
        elif found := re.match(r"([a-z_]+(?:\.[a-z_]+)*)(?:: .+)?$", span):
            key = found[1].split(".")
        else:
            continue
        if len(key) == 1 and ": " not in span:  # a word, which may be anything
            continue
        if key[-1] in _FILE_KINDS or (key[0] == "fields" and not variable):
            continue
        whole = variable or key[0] in Settings.model_fields
        named = any(isinstance(it.get(key[0]), dict) for it in _sections())
        if not (whole or named or ": " in span):
            continue
        if not any(_has(tree, key) for tree in _sections()):
            problems.append(span)
    return problems


def unknown_variables(page: Page) -> list[str]:
    """Return the variables of the environment that the program does not read."""
    named = set(re.findall(r"\bAPPROVAL_PROXY_(?!_)\w+", page.text))
    return sorted(named - {CONFIG, OPERATOR_KEY, OPERATOR_URL})


def unknown_metrics(page: Page) -> list[str]:
    """Return the metrics that the program does not have."""
    metrics = Metrics()
    known = {family.name for family in metrics.registry.collect()}
    named = set(re.findall(r"`(approval_proxy_\w+)`", page.prose))
    return sorted(name for name in named if name.removesuffix("_total") not in known)


def unknown_paths(page: Page) -> list[str]:
    """Return the paths of the HTTP API that its description does not have."""
    text = (PACKAGE / "web" / "openapi.yaml").read_text()
    described = [re.sub(r"\{\w+\}", "[^/]+", path) for path in yaml.safe_load(text)["paths"]]
    named = (
        re.fullmatch(r"(?:GET |POST )?(/[a-z.-]+(?:/[\w{}.-]*)*)", span) for span in page.spans
    )
    found = [it[1] for it in named if it and it[1].split("/")[1] not in {"var", "run", "rest"}]
    return [path for path in found if not any(re.fullmatch(it, path) for it in described)]


def missing_contents(page: Page) -> list[str]:
    """Return what a long page in docs lacks: an introduction, and a link to each section."""
    lines = page.text.splitlines()
    if not re.fullmatch(r"# \S.*\n\n[\w\[`][^\n]+", "\n".join(lines[:3])):
        return ["begins with a title and a sentence that says what the page is for"]
    sections = page.headings(2)
    if len(lines) <= LONG_PAGE or page.path.parent != ROOT / "docs":
        return []
    head = page.text.partition("\n## ")[0]
    return [f"no link to: {title}" for title in sections if f"(#{slug(title)})" not in head]


def rules(page: Page) -> list[str]:
    """Return the rows of tables with a column `test`."""
    tables = re.findall(r"^\|.*\| test \|\n\|[ |-]+\|\n((?:\|.*\n)+)", page.text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


def unproven_rules(page: Page) -> list[str]:
    """Return the rules that name no test."""
    unproven = [it for it in rules(page) if not re.search(r"`(?:test_|tests/)", it.split("|")[-2])]
    return [row for row in unproven if "**not met**" not in row]


CHECKS: Final[tuple[Check, ...]] = (
    broken_links,
    unknown_make_targets,
    unknown_commands,
    unknown_tests,
    missing_files,
    unknown_settings,
    unknown_variables,
    unknown_metrics,
    unknown_paths,
    missing_contents,
    unproven_rules,
)
