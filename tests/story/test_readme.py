"""What the README says is what the program does."""

import re
from pathlib import Path

import pytest
import yaml

from proxy.alarms import Alarm
from proxy.domain.events import ASIDE, WORKING
from proxy.domain.lifecycle import BACK, LATE, TRANSITIONS
from proxy.domain.models import State
from proxy.settings import load

README = (Path(__file__).parents[2] / "README.md").read_text()
NAMED = {"working": WORKING, "aside": ASIDE, **{str(state): (state,) for state in State}}


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
            targets = WORKING if target == BACK else () if target == LATE else (State(target),)
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


@pytest.mark.parametrize(
    "alarm", re.findall(r"^\| (`.*?) \|", README.partition("| alarm |")[2], re.MULTILINE)
)
def test_the_alarms_named_exist(alarm: str) -> None:
    names = re.findall(r"`(\w+)`", alarm)
    assert names
    assert all(name in list(Alarm) for name in names)
