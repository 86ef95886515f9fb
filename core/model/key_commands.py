"""Requests of `caesura keys`: plain values, made by the command line and carried out by a front end.

None of them holds a key: it is typed or piped in, where it is not displayed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from core.base.values import Value


class KeyPlace(StrEnum):
    """Where a key is stored. The file is used only on request: it is not encrypted."""

    KEYRING = "keyring"
    FILE = "file"


class ListKeys(Value):
    """List every place that holds a key, never the key."""


class SetKey(Value):
    """In all of these `name` is a provider's, or that of an environment variable."""

    name: str
    place: KeyPlace = KeyPlace.KEYRING


class RemoveKey(Value):
    name: str


class TryKey(Value):
    """One cheap request with the key of `name`, or with that of each provider that has one. `model` and
    `api_base` are used instead of the provider's usual model and address, if given."""

    name: str | None = None
    model: str | None = None
    api_base: str | None = None


KeysCommand: TypeAlias = ListKeys | SetKey | RemoveKey | TryKey
