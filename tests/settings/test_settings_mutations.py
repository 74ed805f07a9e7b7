"""Whatever is written in settings is taken or refused in words: never a traceback."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from proxy.errors import SettingsError
from proxy.settings import load

EXAMPLES: Final = Path(__file__).parents[2] / "deploy" / "examples"
ODD: Final[tuple[Any, ...]] = (
    *(None, "", 0, -1, 1.5, True, [], {}, [1], [[]], {"a": 1}, {1: 2}, 2**70, float("nan")),
    *({"file": "/nope"}, {"env": []}, {"env": "NOPE"}, "{{ x", "{{ verb }}", "a[", "5", "10s"),
    *("x", "off", "http://x", "https://u:p@x/?q#f", "99999d", "sha256:" + "0" * 64, "\u202e"),
)


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place of a tree: what holds it, and its key or index there."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(inner):
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)


def change(tree: Any, dice: random.Random) -> None:
    """Misspell, leave out, add or replace something."""
    holder, key = dice.choice(list(places(tree)))
    match dice.choice(("misspell", "leave out", "add", "replace", "replace")):
        case "misspell" if isinstance(key, str):
            holder[f"{key[:-1]}z"] = holder.pop(key)
        case "leave out":
            del holder[key]
        case "add" if isinstance(key, str):
            holder["added"] = dice.choice(ODD)
        case _:
            holder[key] = dice.choice(ODD)


@pytest.mark.parametrize("example", ["approval-proxy", "servicenow", "jira", "glpi"])
def test_no_slip_ends_in_a_traceback(example: str, tmp_path: Path) -> None:
    dice = random.Random(example)
    text = (EXAMPLES / f"{example}.yaml").read_text(encoding="utf-8")
    file = tmp_path / "settings.yaml"
    for _ in range(30):
        tree = yaml.safe_load(text)
        for _ in range(dice.choice((1, 2, 3))):
            change(tree, dice)
        file.write_text(yaml.safe_dump(tree), encoding="utf-8")
        with contextlib.suppress(SettingsError):
            load(file, {}, secrets=dice.random() < 0.3)
