"""Example settings as files that can be loaded here: their secrets exist, and are canaries."""

import re
from pathlib import Path
from typing import Final

EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "approval-proxy.yaml"
CANARY = "canary-3f1c"
_SECRET: Final = re.compile(r"/run/secrets/([\w.-]+)")


def write_example(folder: Path, example: Path = EXAMPLE) -> Path:
    """Write an example and its secret files below a folder, and return its path."""
    secrets = folder / "secrets"
    secrets.mkdir()
    text = example.read_text(encoding="utf-8")
    for name in _SECRET.findall(text):
        (secrets / name).write_text(f"{CANARY}-{name}\n", encoding="utf-8")
    text = text.replace("/run/secrets/", f"{secrets}/")
    # what tests call is on this machine
    text = text.replace("  loopback: false ", "  loopback: true ")
    path = folder / "approval-proxy.yaml"
    path.write_text(text, encoding="utf-8")
    return path
