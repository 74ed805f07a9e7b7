"""A fast `replace` for immutable dataclasses."""

from typing import TYPE_CHECKING, Any, TypeVar

Value = TypeVar("Value")

if TYPE_CHECKING:
    # the type checker knows this function, so it checks the names and types of the fields
    from dataclasses import replace
else:

    def replace(value: Value, /, **fields: Any) -> Value:
        """Return a copy of a dataclass with other fields, as `dataclasses.replace` does.

        `dataclasses.replace` visits every field and calls the constructor: 27 µs for a record
        instead of 1, several times a step. The class must have no slots and no own constructor.
        """
        copy = object.__new__(type(value))
        # a dictionary that is built at once is copied faster than one that is filled
        object.__setattr__(copy, "__dict__", {**value.__dict__, **fields})
        return copy


__all__ = ["replace"]
