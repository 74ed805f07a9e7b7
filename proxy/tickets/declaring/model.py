"""The base of every model in a declaration, and the types of text that declarations share."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a field name, RFC 9110 5.6.2


def _number_as_text(value: object) -> object:
    """Accept `limit: 10` for `"10"`, but not `on` and `no`, which YAML reads as true and false."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false: put it in quotes")  # noqa: TRY004
    return str(value) if isinstance(value, int) else value


def _field_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    return name


Text = Annotated[str, BeforeValidator(_number_as_text)]
"""A text; a number without quotes counts as one."""

HeaderName = Annotated[str, AfterValidator(_field_name)]
"""The name of an HTTP header."""


class DeclarationModel(BaseModel):
    """A part of a declaration: unknown keys are errors, and nothing changes after reading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )
