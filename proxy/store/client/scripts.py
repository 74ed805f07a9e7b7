"""The atomic steps as the server runs them: Lua scripts of the package."""

import hashlib
from importlib.resources import files
from typing import Final

from proxy.store.client.pipeline import Script

_REPAIRS: Final = {"restore", "indices"}
_STEPS: Final = {"admit", "claim", "commit", "hint", "expire", "resume"}
_PARTITIONED: Final = {*_STEPS, "who", "kept", "arrive", *_REPAIRS}
"""The steps about requests of one partition; the others are about what all requests share."""


def load_script(name: str) -> Script:
    """Read a Lua step from the package."""
    folder = files("proxy.store") / "lua"
    parts = ["clock", *(["common"] if name in _PARTITIONED else [])]
    parts += [*(["due"] if name in _REPAIRS else []), name]
    source = "".join((folder / f"{part}.lua").read_text() for part in parts)
    # Redis names scripts by their SHA-1
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324
