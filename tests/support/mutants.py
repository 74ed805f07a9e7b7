"""`make mutants`: small changes of what decides, and how many of them the tests tell.

mutmut changes functions of the modules below, one place at a time, and runs the tests named beside
them. It passes over functions with decorators, so the copy that it changes has no `@override`;
what is no function, such as the table of transitions, it leaves alone. A change that makes a test
run for ever is told by that test's own timeout, which ends the process; one that ran out of
mutmut's time counts as not told. `ARGS=proxy/flow.py` measures single modules.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

ENOUGH: Final = 0.9
"""The share of told changes that every module must reach."""

PARTS: Final[Mapping[str, tuple[Collection[str], Collection[str]]]] = {
    "pure": (
        (
            "proxy/domain/lifecycle.py",
            "proxy/domain/events/base.py",
            "proxy/domain/events/ticket.py",
            "proxy/domain/events/callback.py",
            "proxy/domain/events/operator.py",
            "proxy/domain/events/notifications.py",
            "proxy/domain/events/recovery.py",
            "proxy/domain/schedule.py",
            "proxy/domain/routing.py",
            "proxy/domain/guards.py",
            "proxy/domain/identities.py",
            "proxy/net/urls.py",
            "proxy/net/addresses.py",
            "proxy/tickets/events/reader.py",
            "proxy/tickets/events/proofs.py",
            "proxy/tickets/events/jwt.py",
            "proxy/oauth2/tokens.py",
        ),
        (
            "tests/domain",
            "tests/oauth2/test_tokens.py",
            "tests/tickets/test_event_proofs.py",
            "tests/tickets/test_event_signatures.py",
            "tests/tickets/test_published_keys.py",
        ),
    ),
    "flow": (
        ("proxy/flow.py",),
        (
            "tests/story/test_the_story.py",
            "tests/engine/test_history.py",
            "tests/engine/test_opening.py",
            "tests/engine/test_reading.py",
            "tests/engine/test_deadlines.py",
            "tests/engine/test_telling_tickets.py",
            "tests/engine/test_pausing.py",
            "tests/engine/test_retention.py",
            "tests/engine/test_flow_callbacks.py",
            "tests/engine/test_flow_setbacks.py::test_witboost_down_for_days_is_dead_and_final",
        ),
    ),
    "steps": (
        (
            "proxy/engine/step.py",
            "proxy/engine/deciding.py",
            "proxy/engine/creating.py",
            "proxy/engine/closing.py",
        ),
        (
            "tests/story/test_the_story.py",
            "tests/engine/test_history.py",
            "tests/engine/test_opening.py",
            "tests/engine/test_reading.py",
            "tests/engine/test_deadlines.py",
            "tests/engine/test_telling_tickets.py",
            "tests/engine/test_closing.py",
            "tests/engine/test_guards.py",
            "tests/engine/test_lease.py",
            "tests/engine/test_looking_back.py",
            "tests/engine/test_patience.py",
            "tests/engine/test_pausing.py",
            "tests/engine/test_words.py",
            "tests/engine/test_story_routes.py",
            "tests/engine/test_retention.py",
            "tests/cli/test_cli_trial.py",
            "tests/engine/test_flow_callbacks.py",
            "tests/engine/test_flow_setbacks.py",
        ),
    ),
    "routes": (("proxy/engine/routes.py",), ("tests/engine/test_routes.py",)),
    "outbound": (
        ("proxy/outbound/destination.py",),
        (
            "tests/outbound/test_destination.py",
            "tests/outbound/test_client.py",
            "tests/outbound/test_guarded_connector.py",
            "tests/outbound/test_responses.py",
            "tests/outbound/test_http1.py",
            "tests/security/test_tls.py",
        ),
    ),
}
"""Modules, and the tests that must tell their changes; those of the flow need a server and sockets,
so no other module waits for them."""

_COPIED: Final = ("proxy", "tests", "deploy")
_FOR_PYTEST: Final = (
    "--timeout=30",
    "--timeout-method=thread",
    # both of these would end the process of a change, and so count as told
    *("-p", "no:unraisableexception"),
    *("-W", "ignore:(rm_rf) error removing:pytest.PytestWarning"),
)
_NOT_TOLD: Final = {
    None,  # not run
    0,  # the tests noticed nothing
    33,  # mutmut's own number: no test runs this line
    -signal.SIGXCPU,  # mutmut's time was over
}


def main(wanted: Collection[str]) -> int:
    """Measure the modules wanted, all by default; return 1 if too few changes of one were told."""
    told: dict[str, list[bool]] = {}
    for name, (modules, tests) in PARTS.items():
        if chosen := [it for it in modules if not wanted or it in wanted]:
            told |= measure(Path("mutants") / name, chosen, tests)
    for module, each in told.items():
        sys.stdout.write(_row(module, each))
    sys.stdout.write(_row("all", [it for each in told.values() for it in each]))
    return int(any(sum(each) < ENOUGH * len(each) for each in told.values()) or not told)


def measure(
    folder: Path, modules: Collection[str], tests: Collection[str]
) -> Mapping[str, list[bool]]:
    """Return for each module, and each change of it, whether the tests told it.

    Raises:
        subprocess.CalledProcessError: mutmut failed, as it does where the tests fail unchanged.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part in _COPIED:
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", ".canaille", ".roundup")
        shutil.copytree(part, folder / part, ignore=ignored)
    for module in modules:
        text = Path(module).read_text()
        (folder / module).write_text(re.sub(r"(?m)^ *@override\n", "", text))
    (folder / "pyproject.toml").write_text(
        Path("pyproject.toml").read_text() + _settings(modules, tests)
    )
    with (folder / "mutmut.log").open("w") as log:
        mutmut = str(Path(sys.executable).with_name("mutmut").absolute())
        children = str(os.cpu_count() or 1)
        subprocess.run(
            [mutmut, "run", "--max-children", children],
            cwd=folder,
            stdout=log,
            stderr=log,
            check=True,
        )
    return {
        module: [status not in _NOT_TOLD for status in _statuses(folder / "mutants" / module)]
        for module in modules
    }


def _settings(modules: Collection[str], tests: Collection[str]) -> str:
    settings = {
        "source_paths": ["proxy"],
        "only_mutate": [*modules],
        "also_copy": ["deploy"],
        "pytest_add_cli_args": [*_FOR_PYTEST],
        "pytest_add_cli_args_test_selection": [*tests],
    }
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
    return "".join(["\n[tool.mutmut]\n", *lines, "timeout_constant = 10.0\n"])


def _statuses(module: Path) -> Collection[int | None]:
    found = json.loads(module.with_suffix(".py.meta").read_text())
    statuses: Mapping[str, int | None] = found["exit_code_by_key"]
    return statuses.values()


def _row(name: str, told: Collection[bool]) -> str:
    share = sum(told) / max(len(told), 1)
    return f"{name:<34} {len(told):>5} changed {sum(told):>5} told {share:>6.1%}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
