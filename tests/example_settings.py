"""The example settings as a file that can be loaded here: its secrets exist, and are canaries."""

from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "deploy" / "examples" / "approval-proxy.yaml"
CANARY = "canary-3f1c"
_SECRETS = ("witboost-access-token", "desk-client-secret", "desk-event-secret")


def write_example(folder: Path) -> Path:
    """Write the example and its secret files below a folder, and return its path."""
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in _SECRETS:
        (secrets / name).write_text(f"{CANARY}-{name}\n", encoding="utf-8")
    text = EXAMPLE.read_text(encoding="utf-8").replace("/run/secrets/", f"{secrets}/")
    path = folder / "approval-proxy.yaml"
    path.write_text(text, encoding="utf-8")
    return path
