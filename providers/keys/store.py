"""Storage of keys: the keyring, or a file on request.

A key goes in and is never returned: lists contain names and places. No call takes longer than the limit,
whatever a keyring or a disk does, and no text of a keyring is shown or logged.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar, assert_never

from core.base.errors import CaesuraError
from core.base.threads import start_daemon
from core.base.values import Value
from core.model.key_commands import KeyPlace
from core.model.setup import fault_of_key
from providers.catalog import TITLES
from providers.keys.file import KeyFile
from providers.keys.finder import KeySource
from providers.keys.names import (
    KEYRING_LIMIT_S,
    OWN_CREDENTIALS,
    KeyName,
    KeyProblem,
    key_name,
    key_variables,
    provider_variables,
)
from providers.keys.system_keyring import Keyring, KeyringUnusable, NotKept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")


class KeyStoreError(CaesuraError):
    """A key was not stored or not removed; its text says what to do."""


class KeyEntry(Value):
    """A stored key. `provider` is the one whose usual key it is, empty for a name of the user's own."""

    name: str
    provider: str
    source: KeySource


class KeyReport(Value):
    """All keys that were found, in order of precedence, and why some place could not be read."""

    entries: tuple[KeyEntry, ...]
    problems: tuple[str, ...]


class KeyStore:
    """`extra` are the names of keys in the user's settings. All methods block, for a bounded time."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        extra: Iterable[str] = (),
        limit_s: float = KEYRING_LIMIT_S,
        file: KeyFile | None = None,
    ) -> None:
        self._environment = environment
        self._extra = tuple(name for name in extra if name)
        self._limit_s = limit_s
        self._keyring = Keyring(limit_s)
        self.file = file or KeyFile()

    def set(self, name: str, value: str, place: KeyPlace) -> tuple[str, ...]:
        """Store a key in one place only. Returns sentences about what overrides it nevertheless.

        Raises `KeyStoreError`, also for an invalid `value`, `providers.keys.file.KeyFileError` and
        `providers.keys.names.UnknownKeyName`.
        """
        meant = key_name(name)
        check_key(value, meant)
        match place:
            case KeyPlace.KEYRING:
                self._store_in_keyring(meant, value)
                notes = self._remove_from_file(meant)
            case KeyPlace.FILE:
                self._bounded(lambda: self.file.store(meant.variable, value))
                notes = self._remove_from_keyring(meant)
            case _:
                assert_never(place)
        shadows = (
            f"{name} is set in the environment, and goes before what is kept."
            for name in self.in_environment(meant)
        )
        return (*notes, *shadows)

    def remove(self, name: str) -> tuple[KeySource, ...]:
        """Remove a key from every place that stores it. Returns those places. The environment is not changed.

        Raises `KeyStoreError` when it may still be in a place that could not be reached.
        """
        meant = key_name(name)
        gone: list[KeySource] = []
        failures: list[str] = []
        try:
            if self._bounded(lambda: self.file.remove(meant.entries)):
                gone.append(KeySource.FILE)
        except CaesuraError as error:
            failures.append(str(error))
        try:
            if self._keyring.remove(meant.entries):
                gone.append(KeySource.KEYRING)
        except NotKept:
            failures.append("The keyring does not let go of it: remove it with the keyring's own program.")
        except KeyringUnusable as error:
            # Without a keyring there is nothing to remove.
            if error.problem is not KeyProblem.NO_KEYRING:
                failures.append(f"{_trouble(error.problem)} It may still hold the key.")
        if failures:
            done = " It was removed from the file." if gone else ""
            raise KeyStoreError(" ".join(failures) + done)
        return tuple(gone)

    def list(self) -> tuple[KeyEntry, ...]:
        """The entries of `report`, without the places that could not be read."""
        return self.report().entries

    def report(self) -> KeyReport:
        """Every key of a known name, and those that `set` has stored under another one. Never raises."""
        known = dict.fromkeys((*provider_variables(), *self._extra))
        entries = [
            _entry(name, KeySource.ENVIRONMENT) for name in known if self._environment.get(name, "").strip()
        ]
        problems: list[str] = []
        providers = (provider for provider in TITLES if provider not in OWN_CREDENTIALS)
        try:
            names = self._keyring.names((*known, *providers))
            entries += [_entry(name, KeySource.KEYRING) for name in names]
        except KeyringUnusable as error:
            problems.append(_trouble(error.problem))
        try:
            kept = self._bounded(self.file.read)
            entries += [_entry(name, KeySource.FILE) for name, value in kept.items() if value]
        except CaesuraError as error:
            problems.append(str(error))
        return KeyReport(tuple(entries), tuple(problems))

    def in_environment(self, meant: KeyName) -> tuple[str, ...]:
        """The variables that hold this key, and take precedence over stored ones."""
        names = key_variables(meant.provider) if meant.provider else (meant.variable,)
        return tuple(name for name in names if self._environment.get(name, "").strip())

    def _store_in_keyring(self, meant: KeyName, value: str) -> None:
        otherwise = (
            f"`caesura keys set {meant.cli_name} --file` keeps it in a file instead; or set {meant.variable} "
            "in the environment."
        )
        try:
            self._keyring.store(meant.variable, value)
        except NotKept:
            raise KeyStoreError(f"The keyring takes no new key: nothing was stored. {otherwise}") from None
        except KeyringUnusable as error:
            stored = (
                "Nobody can say whether it has stored the key."
                if error.problem is KeyProblem.KEYRING_HANGS
                else "Nothing was stored."
            )
            raise KeyStoreError(f"{_trouble(error.problem)} {stored} {otherwise}") from None

    def _remove_from_file(self, meant: KeyName) -> tuple[str, ...]:
        try:
            self._bounded(lambda: self.file.remove(meant.entries))
        except CaesuraError as error:
            return (f"An older key may still be in the file of keys. {error}",)
        return ()

    def _remove_from_keyring(self, meant: KeyName) -> tuple[str, ...]:
        try:
            self._keyring.remove(meant.entries)
        except NotKept:
            return (
                "The keyring holds an older key, which goes before the one in the file: remove it there.",
            )
        except KeyringUnusable as error:
            if error.problem is not KeyProblem.NO_KEYRING:
                return (
                    f"{_trouble(error.problem)} If it holds an older key, that one goes before the file's.",
                )
        return ()

    def _bounded(self, work: Callable[[], T]) -> T:
        """Run `work` on the file within the limit: it may be on a disk that does not answer."""
        done = start_daemon(work, name="file of keys")
        try:
            return done.result(self._limit_s)
        except TimeoutError:
            raise KeyStoreError(f"{self.file.path} did not answer within {self._limit_s:g} s.") from None


def check_key(value: str, meant: KeyName) -> None:
    """Raise `KeyStoreError` if `value` cannot be a key, without showing any of it."""
    fault = fault_of_key(value)
    if value.startswith((f"{meant.variable}=", "export ")):
        fault = "Give the key alone, without a name before it."
    elif value[:1] in ("'", '"'):
        fault = "Give the key without quotes."
    if fault:
        raise KeyStoreError(f"{fault} Nothing was stored.")


def _entry(name: str, source: KeySource) -> KeyEntry:
    provider = provider_variables().get(name, name if name in TITLES else "")
    return KeyEntry(name, provider, source)


def _trouble(problem: KeyProblem) -> str:
    match problem:
        case KeyProblem.NO_KEYRING | KeyProblem.MISSING:
            return "There is no keyring on this machine."
        case KeyProblem.KEYRING_LOCKED:
            return "The keyring is locked: unlock it and try again."
        case KeyProblem.KEYRING_HANGS:
            return f"The keyring did not answer within {KEYRING_LIMIT_S:g} s: does it ask for a password?"
        case KeyProblem.KEYRING_FAILS | KeyProblem.FILE_UNUSABLE:
            return "The keyring cannot be used: it fails."
        case _:
            assert_never(problem)
