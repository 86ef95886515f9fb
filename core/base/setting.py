"""How a setting is declared: marks in the annotation of a field.

    max_steps: Annotated[Count | None, Doc("Replies of one turn ..."), ProjectMay.LOWER] = 200

The type says what a value has to be, `Doc` what it means, `ProjectMay` what a project's file may do with it
before the person trusts its folder; the default stands behind. `core.config.tree` reads the marks, and from
them come validation, the manual, variables, and what `caesura config` prints.

A complaint never quotes a value, because it may be a secret that was put into the wrong place.
"""

from __future__ import annotations

import re
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Annotated, Any

from core.base.secrets import is_key_like
from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_WHOLE = 10**12
MOST_NUMBER = 1e9
"""Larger numbers are taken for typing errors; some clocks and databases would refuse them."""


class Doc(Value):
    """The meaning of a setting, for the manual. `secret` values are not listed. A list that `adds_up` is
    extended by each layer, where other settings are replaced, so that a project cannot remove the person's
    denials. `example` is shown where there is no default to show."""

    text: str
    secret: bool = False
    adds_up: bool = False
    example: object = None


class ProjectMay(Enum):
    """What a project's file may do with a setting before the person trusts its folder.

    LOWER: give a bound that is below the person's own. SWITCH_OFF: set it to false. A setting without this
    mark may not be set at all.
    """

    SET = auto()
    LOWER = auto()
    SWITCH_OFF = auto()


class OneOf(Value):
    """Of the settings `names` of a table exactly one is set. `complaint` says so."""

    names: tuple[str, ...]
    complaint: str


class Kind(Value):
    """What a value has to be. `words` end the sentence "it must be ...".

    `read` gives the value as the program uses it. It raises `ValueError` with a complaint, or without one
    where the sentence above says enough. `is_text` says that the value is a string in TOML.
    """

    words: str
    read: Callable[[Any], Any]
    is_text: bool = False
    choices: tuple[str, ...] = ()


def whole_number(least: int) -> Kind:
    """A whole number of at least `least`: neither text nor true."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST_WHOLE:
            raise ValueError
        return value

    return Kind(f"a whole number from {least} on", read)


def number(*, zero: bool = False, most: float = MOST_NUMBER) -> Kind:
    """A finite number, whole or not. `zero` says whether 0 is one."""
    words = "a number from 0 on" if zero else "a number above 0"

    def read(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError
        if not 0 <= value <= most or (value == 0 and not zero):
            raise ValueError
        return float(value)

    return Kind(words if most == MOST_NUMBER else f"{words}, {most:g} at most", read)


def text(words: str = "text", parse: Callable[[str], Any] = str) -> Kind:
    """Text that `parse` takes; what that raises as `ValueError` is the complaint."""

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError
        return parse(value)

    return Kind(words, read, is_text=True)


def choice(kind: type[StrEnum]) -> Kind:
    """One of the values of an enumeration."""
    choices = tuple(member.value for member in kind)
    words = "one of " + ", ".join(f'"{each}"' for each in choices)

    def read(value: Any) -> StrEnum:
        if value not in choices:
            raise ValueError
        return kind(value)

    return Kind(words, read, is_text=True, choices=choices)


def _read_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


NO_PROXY = "none"
"""In place of a proxy's address: connect directly, whatever the environment says."""

SWITCH = Kind("true or false", _read_switch)
TEXT = text()


def _parse_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("it must be a name, which is not empty")
    return text


def _parse_address(text: str) -> str:
    if text and not _is_address(text):
        raise ValueError("it must be an address such as http://localhost:8000 or https://example.com/v1")
    return text


def _is_address(text: str, schemes: tuple[str, ...] = ("http", "https")) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        is_reachable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_reachable and text.isprintable() and " " not in text


def _parse_key_name(text: str) -> str:
    """The name of a key. A key itself is refused, and not repeated."""
    if text and (not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text) or is_key_like(text)):
        raise ValueError(
            "put the NAME of the variable here, such as TEAM_LLM_KEY; `caesura keys set` stores the key"
        )
    return text


def _parse_proxy(text: str) -> str:
    if text and text != NO_PROXY and not _is_address(text, schemes=("http", "https", "socks5", "socks5h")):
        raise ValueError("it must be an address such as http://proxy.example.com:3128, or none")
    return text


def _parse_header(text: str) -> str:
    """The value of a header of HTTP, which libraries refuse only when it is sent."""
    if not re.fullmatch(r"([!-~]([ -~\t]*[!-~])?)?", text):
        raise ValueError(
            "a header takes ASCII characters on one line, without spaces at its ends; write the value in the "
            "encoding that its server expects, such as base64, or take the header out"
        )
    return text


Count = Annotated[int, whole_number(1)]
Times = Annotated[int, whole_number(0)]
Seconds = Annotated[float, number()]
FromZero = Annotated[float, number(zero=True)]
Share = Annotated[float, number(most=1)]
Switch = Annotated[bool, SWITCH]
Name = Annotated[str, text("a name", _parse_name)]
Address = Annotated[str, text("an address such as https://llm.example.com/v1", _parse_address)]
Proxy = Annotated[str, text("an address such as http://proxy.example.com:3128, or none", _parse_proxy)]
HeaderValue = Annotated[str, text("a line of ASCII characters", _parse_header)]
KeyName = Annotated[
    str, text("the name of a variable, such as TEAM_LLM_KEY, never the key itself", _parse_key_name)
]
