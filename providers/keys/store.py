"""Where keys are kept, and what is kept there: the keyring, or a file for those who ask for one.

A key goes in and never comes out: what is listed are names and places. Nothing here takes longer than the
limit, whatever a keyring or a disk does, and nothing a keyring says is shown or logged.
"""

from __future__ import annotations

import os
import queue
import threading
from typing import TYPE_CHECKING, TypeVar, assert_never

from core.errors import CaesuraError
from core.key_commands import KeyPlace
from core.setup import fault_of_key
from core.values import dataclass
from providers.catalog import TITLES
from providers.key_file import KeyFile, KeyFileError
from providers.key_names import OWN_CREDENTIALS, KeyName, key_name, key_variables, provider_variables
from providers.key_problems import KEYRING_LIMIT_S, KeyProblem
from providers.keyring_access import Keyring, KeyringUnusable, NotKept
from providers.keys import KeySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T = TypeVar("T")


class KeyStoreError(CaesuraError):
    """A key was not stored or not removed; its text says what to do."""


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key that is there. `provider` is whose usual key it is, empty for a name of the person's own."""

    name: str
    provider: str
    source: KeySource


@dataclass(frozen=True, slots=True)
class Survey:
    """All keys that were found, in the order in which they count, and why some place could not be seen."""

    entries: tuple[KeyEntry, ...]
    problems: tuple[str, ...]


class KeyStore:
    """`extra` are the names of keys in the person's settings. All of it blocks, for a bounded time."""

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
        self._file = file or KeyFile()

    @property
    def file(self) -> KeyFile:
        return self._file

    def set(self, name: str, value: str, place: KeyPlace) -> tuple[str, ...]:
        """Keep a key in one place, and in that one alone; sentences about what is in its way all the same.

        Raises `KeyStoreError`, also for a `value` that can be no key,
        `providers.key_file.KeyFileError` and `providers.key_names.UnknownKeyName`.
        """
        meant = key_name(name)
        check_key(value, meant)
        match place:
            case KeyPlace.KEYRING:
                self._store_in_keyring(meant, value)
                notes = self._remove_from_file(meant)
            case KeyPlace.FILE:
                self._bounded(lambda: self._file.store(meant.variable, value))
                notes = self._remove_from_keyring(meant)
            case _:
                assert_never(place)
        shadows = (
            f"{name} is set in the environment, and goes before what is kept."
            for name in self.in_environment(meant)
        )
        return (*notes, *shadows)

    def remove(self, name: str) -> tuple[KeySource, ...]:
        """Remove a key from wherever it is kept; from where it was. The environment is not ours to change.

        Raises `KeyStoreError` when it may still be in a place that could not be reached.
        """
        meant = key_name(name)
        gone: list[KeySource] = []
        failures: list[str] = []
        try:
            if self._bounded(lambda: self._file.remove(meant.entries)):
                gone.append(KeySource.FILE)
        except CaesuraError as error:
            failures.append(str(error))
        try:
            if self._keyring.remove(meant.entries):
                gone.append(KeySource.KEYRING)
        except NotKept:
            failures.append("The keyring does not let go of it: remove it with the keyring's own program.")
        except KeyringUnusable as error:
            # What cannot be there need not be removed.
            if error.problem is not KeyProblem.NO_KEYRING:
                failures.append(f"{_trouble(error.problem)} It may still hold the key.")
        if failures:
            done = " It was removed from the file." if gone else ""
            raise KeyStoreError(" ".join(failures) + done)
        return tuple(gone)

    def list(self) -> tuple[KeyEntry, ...]:
        """See `survey`; without what could not be seen."""
        return self.survey().entries

    def survey(self) -> Survey:
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
            kept = self._bounded(self._file.read)
            entries += [_entry(name, KeySource.FILE) for name, value in kept.items() if value]
        except CaesuraError as error:
            problems.append(str(error))
        return Survey(tuple(entries), tuple(problems))

    def in_environment(self, meant: KeyName) -> tuple[str, ...]:
        """The variables that hold this key, and go before what is kept."""
        names = key_variables(meant.provider) if meant.provider else (meant.variable,)
        return tuple(name for name in names if self._environment.get(name, "").strip())

    def _store_in_keyring(self, meant: KeyName, value: str) -> None:
        otherwise = (
            f"`caesura keys set {meant.spoken} --file` keeps it in a file instead; or set {meant.variable} "
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
            self._bounded(lambda: self._file.remove(meant.entries))
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
        """What the file has to say within the limit: it may be on a disk that does not answer."""
        answers: queue.SimpleQueue[tuple[T] | KeyFileError] = queue.SimpleQueue()

        def run() -> None:
            try:
                answers.put((work(),))
            except KeyFileError as error:
                answers.put(error)

        threading.Thread(target=run, name="file of keys", daemon=True).start()
        try:
            answer = answers.get(timeout=self._limit_s)
        except queue.Empty:
            raise KeyStoreError(f"{self._file.path} did not answer within {self._limit_s:g} s.") from None
        if isinstance(answer, KeyFileError):
            raise answer
        return answer[0]


def check_key(value: str, meant: KeyName) -> None:
    """Raises `KeyStoreError` for what can be no key, without telling any of it."""
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
