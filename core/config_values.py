"""The kinds of values that settings have: what each takes, and in which words it says so.

They stand in the annotations of `core.config_schema`. pydantic reads them there without being imported by
this module: the first frame must not wait for it. What is refused is never quoted, for it may be a secret
that was put into the wrong place.
"""

from __future__ import annotations

import enum
import re
import typing
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from core.rules import Rule, RuleError

MOST_WHOLE = 10**12
MOST_NUMBER = 1e9
"""Beyond these a number is a slip of the pen, and some clocks and databases would not take it."""


class Kind:
    """What a value has to be. `words` end the sentence "it must be ..."."""

    words: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.words


class Whole(Kind):
    """A whole number of at least `least`: neither text nor true."""

    def __init__(self, least: int) -> None:
        self._least = least

    def __str__(self) -> str:
        return f"a whole number from {self._least} on"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.int_schema(strict=True, ge=self._least, le=MOST_WHOLE)


class Number(Kind):
    """A finite number, whole or not. `zero` says whether 0 is one."""

    def __init__(self, *, zero: bool = False, most: float = MOST_NUMBER) -> None:
        self._zero = zero
        self._most = most

    def __str__(self) -> str:
        beginning = "a number from 0 on" if self._zero else "a number above 0"
        return beginning if self._most == MOST_NUMBER else f"{beginning}, {self._most:g} at most"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.float_schema(
            strict=True,
            ge=0 if self._zero else None,
            gt=None if self._zero else 0,
            le=self._most,
            allow_inf_nan=False,
        )


class TrueOrFalse(Kind):
    """True or false and nothing that could be meant so."""

    words = "true or false"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.bool_schema(strict=True)


class _Parsed(Kind):
    """Text that a function checks; what it raises as `ValueError` is the complaint."""

    def parse(self, text: str) -> object:
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.parse, core_schema.str_schema())


class RuleText(_Parsed):
    words = "a rule such as shell(git status *)"

    def parse(self, text: str) -> Rule:
        try:
            return Rule.parse(text)
        except RuleError as error:
            raise ValueError(str(error)) from None


class NameText(_Parsed):
    words = "a name"

    def parse(self, text: str) -> str:
        if not text.strip() or not text.isprintable():
            raise ValueError("it must be a name, which is not empty")
        return text


class AddressText(_Parsed):
    words = "an address such as https://llm.example.com/v1"

    def parse(self, text: str) -> str:
        if text and not _is_address(text):
            raise ValueError("it must be an address such as http://localhost:8000 or https://example.com/v1")
        return text


class KeyNameText(_Parsed):
    """The name of a key. A key itself is refused, and not repeated to anybody."""

    words = "the name of a variable, such as TEAM_LLM_KEY, never the key itself"

    def parse(self, text: str) -> str:
        if text and not _is_key_name(text):
            raise ValueError(
                "put the NAME of the variable here, such as TEAM_LLM_KEY; `caesura keys set` stores the key"
            )
        return text


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and text.isprintable()
            and " " not in text
        )
    except ValueError:
        return False


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_KEY_BEGINNING = re.compile(
    r"(?:sk|pk|rk|gsk|hf|r8|xai|pplx|gh[pousr]|github_pat|glpat|nvapi|tgp|fw|csk)[_-]"
    r"|AIza|eyJ|AKIA[0-9A-Z]{12}"
)
_LONG_PART = 16


def _is_key_name(text: str) -> bool:
    """Whether it can be the name of a variable, and is not more likely a key."""
    if not _VARIABLE.fullmatch(text) or _KEY_BEGINNING.match(text):
        return False
    return not any(_is_random(part) for part in text.split("_"))


def _is_random(part: str) -> bool:
    """Whether a word is as long and as mixed as only keys are."""
    if len(part) < _LONG_PART:
        return False
    has_digits = any(character.isdigit() for character in part)
    return has_digits or not (part.isupper() or part.islower()) or len(part) > 2 * _LONG_PART


Count = Annotated[int, Whole(1)]
Times = Annotated[int, Whole(0)]
Seconds = Annotated[float, Number()]
Dollars = Annotated[float, Number(zero=True)]
Switch = Annotated[bool, TrueOrFalse()]
RuleSetting = Annotated[Rule, RuleText()]
Name = Annotated[str, NameText()]
Address = Annotated[str, AddressText()]
KeyName = Annotated[str, KeyNameText()]


def words_of(annotation: Any) -> str:
    """What a setting of this type has to be, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        for mark in arguments[1:]:
            if isinstance(mark, Kind):
                return str(mark)
        return words_of(arguments[0])
    if arguments and type(None) in arguments:
        return words_of(next(argument for argument in arguments if argument is not type(None)))
    if origin is tuple:
        return f"a list, of which each is {words_of(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, enum.StrEnum):
        return "one of " + ", ".join(f'"{member}"' for member in annotation)
    return "text" if annotation is str else "a table"
