"""The fields of JSON objects, each of the type that it should have, or `CodecError` says which is not."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from core.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Callable

JsonObject: TypeAlias = dict[str, Any]

E = TypeVar("E", bound=Enum)
T = TypeVar("T")
V = TypeVar("V")


class CodecError(CaesuraError):
    """The data is not what it should be. The text names the field."""


def checked(value: object, kind: type[T], name: str) -> T:
    # True is an int for Python and for nobody else.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CodecError(f"{name!r} should be of the type {kind.__name__}, not {type(value).__name__}.")
    return value


def as_object(data: object, name: str) -> JsonObject:
    return checked(data, dict, name)


def as_list(data: object, name: str) -> list[Any]:
    return checked(data, list, name)


def string(read: JsonObject, name: str) -> str:
    return checked(read.get(name), str, name)


def integer(read: JsonObject, name: str) -> int:
    return checked(read.get(name), int, name)


def boolean(read: JsonObject, name: str) -> bool:
    return checked(read.get(name), bool, name)


def number(read: JsonObject, name: str) -> float:
    value = read.get(name)
    if type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise CodecError(f"{name!r} is too large a number.") from error
    return checked(value, float, name)


def optional_number(read: JsonObject, name: str) -> float | None:
    return None if read.get(name) is None else number(read, name)


def optional_string(read: JsonObject, name: str) -> str | None:
    return None if read.get(name) is None else string(read, name)


def strings(read: JsonObject, name: str) -> tuple[str, ...]:
    return tuple(checked(item, str, name) for item in as_list(read.get(name), name))


def each(decode: Callable[[object], T], read: JsonObject, name: str) -> tuple[T, ...]:
    return tuple(decode(item) for item in as_list(read.get(name), name))


def member(kind: type[E], read: JsonObject, name: str) -> E:
    value = string(read, name)
    try:
        return kind(value)
    except ValueError as error:
        raise CodecError(f"{name!r} cannot be {value!r}.") from error


def optional_member(kind: type[E], read: JsonObject, name: str) -> E | None:
    return None if read.get(name) is None else member(kind, read, name)


def optional(convert: Callable[[V], T], value: V | None) -> T | None:
    return None if value is None else convert(value)
