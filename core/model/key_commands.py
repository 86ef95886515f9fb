"""What `caesura keys` can be asked for: plain values, made by the command line and obeyed by a front end.

A key itself is in none of them: it is typed, or piped in, where nobody can look on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from core.values import dataclass


class KeyPlace(StrEnum):
    """Where a key is kept. The file is for those who ask for it: it is not encrypted."""

    KEYRING = "keyring"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class ListKeys:
    """Every place where a key is, and never the key."""


@dataclass(frozen=True, slots=True)
class SetKey:
    """In all of these `name` is a provider's, or that of an environment variable."""

    name: str
    place: KeyPlace = KeyPlace.KEYRING


@dataclass(frozen=True, slots=True)
class RemoveKey:
    name: str


@dataclass(frozen=True, slots=True)
class TryKey:
    """One cheap request with the key of `name`, or with that of each provider there is a key for. `model` and
    `api_base` say whom to ask, where that is not the provider's usual model at its own address."""

    name: str | None = None
    model: str | None = None
    api_base: str | None = None


KeysCommand: TypeAlias = ListKeys | SetKey | RemoveKey | TryKey
