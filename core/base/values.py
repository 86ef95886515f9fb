"""Values: frozen `msgspec` structs, compared, hashed and shown by their fields."""

from __future__ import annotations

from typing import TypeVar, dataclass_transform

import msgspec
from msgspec.structs import replace


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Value(msgspec.Struct, frozen=True):
    """The base of all values: immutable, and equal if of the same class with equal fields.

    Defining and making one takes about a tenth of the time of a frozen dataclass.
    """


class Record(Value):
    """A value that is read from JSON. Its annotations are needed at run time, so their imports are too."""


ValueT = TypeVar("ValueT", bound=Value)


def or_else(value: ValueT, others: ValueT) -> ValueT:
    """`value` with the fields of `others` in place of None."""
    unset = [name for name in value.__struct_fields__ if getattr(value, name) is None]
    return replace(value, **{name: getattr(others, name) for name in unset})
