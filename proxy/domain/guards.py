"""What keeps an approval from being applied until a person has looked. Pure."""

from typing import Final

GUARDED: Final = "guarded"
"""The code of a request that is held because of its approval."""
