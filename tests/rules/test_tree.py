"""The tree: what lies at the top of the package, and how much a folder may hold."""

import ast
from pathlib import Path
from typing import Final

import proxy

PACKAGE: Final = Path(proxy.__file__).parent
TESTS: Final = PACKAGE.parent / "tests"
TOP: Final = {
    *("__init__.py", "__main__.py", "change_poller.py", "errors.py", "flow.py", "worker.py"),
}
FOLDERS: Final = {
    *("app", "audit", "cli", "demo", "domain", "engine", "maintenance", "net", "oauth2"),
    *("observability", "outbound", "security", "settings", "simulators", "store", "tickets"),
    *("web", "witboost"),
}
MOST_MODULES: Final = 16
FEWEST_LINES: Final = 20
SHORT_FOR_A_REASON: Final = {
    "proxy/__main__.py": "only `python -m proxy` needs it",
    "proxy/app/processes/gc_tuning.py": "every process calls it, before it imports the rest",
    "proxy/demo/serve.py": "compose files of the last release name it",
}


def modules_of(folder: Path) -> list[Path]:
    """Return the modules that lie in a folder itself, without its face."""
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


def folders() -> list[Path]:
    return [
        path for path in PACKAGE.rglob("*") if path.is_dir() and (path / "__init__.py").exists()
    ]


def test_the_story_and_nothing_else_lies_at_the_top() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == TOP
    assert {path.name for path in folders() if path.parent == PACKAGE} == FOLDERS


def test_no_folder_holds_too_many_modules() -> None:
    assert [
        f"{folder.relative_to(PACKAGE.parent)}: {count}"
        for folder in [PACKAGE, *folders()]
        if (count := len(modules_of(folder))) > MOST_MODULES
    ] == []


def test_a_module_is_worth_its_file() -> None:
    short = {
        str(path.relative_to(PACKAGE.parent))
        for folder in [PACKAGE, *folders()]
        for path in modules_of(folder)
        if len(path.read_text().splitlines()) < FEWEST_LINES
    }
    assert short == set(SHORT_FOR_A_REASON)


def test_the_face_of_a_package_says_what_it_is() -> None:
    for folder in folders():
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_tests_lie_in_the_folders_of_the_package() -> None:
    others = {"bench", "deploy", "e2e", "faults", "fuzzing", "rules", "specs", "story", "support"}
    names = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert names <= FOLDERS | others
    assert [path.name for path in TESTS.glob("*.py")] == ["conftest.py"]
