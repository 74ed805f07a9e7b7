"""What the README says is what the program does; what the documents name is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import proxy
from proxy.cli import main
from proxy.cli.commands.requests import SIMPLE
from proxy.domain.events.base import ACTIVE, PARKED
from proxy.domain.lifecycle import BACK, LATE, TRANSITIONS
from proxy.domain.models import State
from proxy.observability.alarms import Alarm
from proxy.settings import Settings, load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
ALL = f"{README}\n{SECURITY}\n{CONTRIBUTING}"
PACKAGE = Path(proxy.__file__).parent
NAMED = {"working": ACTIVE, "aside": PARKED, **{str(state): (state,) for state in State}}


def drawn() -> set[tuple[State, State]]:
    """Every arrow of the diagram, groups taken apart."""
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", README, re.DOTALL)
    assert diagram is not None
    arrows = re.findall(r"^\s*(\w+) --> (\w+)", diagram[1], re.MULTILINE)
    return {
        (source, target)
        for left, right in arrows
        for source in NAMED[left]
        for target in NAMED[right]
    }


def tabled() -> set[tuple[State, State]]:
    """Every change of state in the table of transitions."""
    found = set()
    for row in TRANSITIONS.values():
        for source, target in row.items():
            targets = ACTIVE if target == BACK else () if target == LATE else (State(target),)
            found |= {(source, each) for each in targets if each is not source}
    return found


def test_the_diagram_shows_exactly_the_transitions() -> None:
    assert drawn() == tabled()


def test_the_example_settings_load(tmp_path: Path) -> None:
    example = re.search(r"A complete example:\n\n```yaml\n(.*?)```", README, re.DOTALL)
    assert example is not None
    token = tmp_path / "witboost-token"
    token.write_text("wbat-x")
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(example[1].replace("/run/secrets/witboost-token", str(token)))
    settings = load(file, {"DESK_CLIENT_SECRET": "s"})
    assert set(yaml.safe_load(example[1])) <= set(type(settings).model_fields)


@pytest.mark.parametrize("section", ["Routes", "Who may approve"])
def test_the_settings_of_each_section_load_within_the_example(section: str, tmp_path: Path) -> None:
    whole = re.search(r"A complete example:\n\n```yaml\n(.*?)```", README, re.DOTALL)
    text = README.partition(f"### {section}\n")[2].partition("\n### ")[0]
    shown = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert whole is not None
    assert shown is not None
    tree, part = yaml.safe_load(whole[1]), yaml.safe_load(shown[1])
    part.setdefault("routes", [{"name": "default", "system": "desk"}])
    part["ticket_systems"] = tree["ticket_systems"] | part.get("ticket_systems", {})
    file = tmp_path / "approval-proxy.yaml"
    file.write_text(yaml.safe_dump(tree | part))
    settings = load(file, {"DESK_CLIENT_SECRET": "s"}, secrets=False)
    assert len(settings.routes) == len(part["routes"])


def test_every_action_of_operators_is_named() -> None:
    actions = re.findall(r"`(?:approval-proxy )?requests (\w+)", README)
    assert set(actions) >= {"list", "show", "retry", "attach", *SIMPLE}


def test_every_alarm_is_named_with_what_to_do() -> None:
    table = README.partition("| alarm |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.*?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    named = [name for names, *_ in rows for name in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(Alarm)


@pytest.mark.parametrize("alarm", Alarm)
def test_every_alarm_can_sound(alarm: Alarm) -> None:
    """A rule of a monitoring system on an alarm that nothing sounds would promise to watch."""
    sources = (path.read_text() for path in PACKAGE.rglob("*.py") if path.name != "alarms.py")
    assert any(f"Alarm.{alarm.name}" in source for source in sources)


def defined() -> set[str]:
    """Every test of the suite, by name."""
    texts = (path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    return {
        name
        for text in texts
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE)
    }


def test_every_proof_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", ALL))
    assert len(named) > 20
    assert named - defined() == set()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"((?:tests|proxy|deploy)/[\w./-]+?\.(?:py|yaml|json))", ALL)))
)
def test_every_file_named_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = re.findall(r"(?:`|^)make ((?:[A-Z_]+=(?:'[^']*'|\S+) )?[a-z-]+)", ALL, re.MULTILINE)
    named = {line.split()[-1] for line in lines}
    assert {"demo", "test", "bench", "soak", "crash-points", "compose-test"} <= named
    assert named <= targets


def test_every_promise_says_how_to_see_it_again() -> None:
    table = README.partition("| we promise |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (?!-)(.+?) \| (.+?) \| (.+?) \|.*\|$", table, re.MULTILINE)
    assert len(rows) > 15
    assert [promise for promise, tested, _ in rows if "`make " not in tested] == []


def test_every_rule_names_its_test() -> None:
    tables = re.findall(r"^\|(?:.*)\| test \|\n\|[ |-]+\|\n((?:\|.*\n)+)", SECURITY, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 60
    unproven = [row for row in rows if not re.search(r"`(?:test_|tests/)", row.split("|")[-2])]
    assert [row for row in unproven if "**not met**" not in row] == []


def test_every_link_inside_leads_to_a_heading() -> None:
    for text in (README, SECURITY):
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", it).lower().replace(" ", "-") for it in titles}
        assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors


def test_every_command_named_exists() -> None:
    named = set(re.findall(r"(?:`|^|/)approval-proxy ([a-z]+)", ALL, re.MULTILINE))
    assert len(named) > 8
    for command in sorted(named):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command


def settings_named() -> Iterator[tuple[str, ...]]:
    """Yield each `section.key` of the documents, where the section is one of the settings."""
    for name in sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", ALL))):
        first, *rest = name.split(".")
        if first in Settings.model_fields and rest != ["py"]:
            yield first, *rest


def test_every_setting_named_exists() -> None:
    named = list(settings_named())
    assert len(named) > 10
    example = yaml.safe_load((ROOT / "deploy/examples/approval-proxy.yaml").read_text())
    for path in named:
        place = example
        for key in path:
            assert key in place, ".".join(path)
            place = place[key]
