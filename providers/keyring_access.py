"""The desktop's keyring, asked so that it can neither hold anybody up nor tell anything in an error.

A backend is a plug-in: it may hang for ever, ask for a password on a screen that nobody sees, take a key and
not keep it, or raise an error whose text holds the key. So each question runs in a thread of its own, for a
bounded time; what it raises becomes a `KeyProblem`, and its text is dropped.

Not solved: a backend that asks for a password on the terminal is cut off after the same time.
"""

from __future__ import annotations

import functools
import getpass
import queue
import threading
import warnings
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from providers.key_problems import KEYRING_LIMIT_S, KeyProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SERVICE = "caesura"
"""The keyring's service name; the user name is the environment variable's, or the provider's."""
INDEX = "names of the keys"
"""The user name of an entry that lists the others, for no keyring can be asked what it holds."""

T = TypeVar("T")


class KeyringUnusable(Exception):
    """The keyring gave no answer, or none that is of use. It carries nothing of what the backend said."""

    def __init__(self, problem: KeyProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class NotKept(Exception):
    """The keyring takes nothing new, or has not kept what it took."""


class _Answer(Generic[T]):
    """What a question came to: a value, or an error of ours."""

    def __init__(self, value: T | None, error: KeyringUnusable | NotKept | None = None) -> None:
        self.value = value
        self.error = error


class Keyring:
    """Asks for up to `limit_s` seconds at a time; while a question hangs, no other is put.

    Thread-safe enough for its use: two questions at once may both hang, which does no harm.
    """

    def __init__(self, limit_s: float = KEYRING_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._hanging: threading.Thread | None = None

    def read(self, entries: Iterable[str]) -> str:
        """The first of these that it holds; empty for none. Raises `KeyringUnusable`."""
        return self._ask(lambda backend: _read(backend, tuple(entries)))

    def names(self, known: Iterable[str]) -> tuple[str, ...]:
        """Which of `known`, and of those stored with `store`, it holds. Raises `KeyringUnusable`."""
        return self._ask(lambda backend: _names(backend, tuple(known)))

    def store(self, entry: str, value: str) -> None:
        """Raises `KeyringUnusable` and `NotKept`."""
        self._ask(lambda backend: _store(backend, entry, value))

    def remove(self, entries: Iterable[str]) -> bool:
        """Whether it held any of them. Raises `KeyringUnusable` and `NotKept`."""
        return self._ask(lambda backend: _remove(backend, tuple(entries)))

    def _ask(self, question: Callable[[Any], T]) -> T:
        if self._hanging is not None:
            if self._hanging.is_alive():
                raise KeyringUnusable(KeyProblem.KEYRING_HANGS)
            self._hanging = None
        answers: queue.SimpleQueue[_Answer[T]] = queue.SimpleQueue()
        # A daemon, because a hung backend cannot be interrupted and must not keep the process alive.
        thread = threading.Thread(target=lambda: answers.put(_answer(question)), name="keyring", daemon=True)
        thread.start()
        try:
            answer = answers.get(timeout=self._limit_s)
        except queue.Empty:
            self._hanging = thread
            raise KeyringUnusable(KeyProblem.KEYRING_HANGS) from None
        if answer.error is not None:
            raise answer.error
        return answer.value  # type: ignore[return-value]  # a question that raised nothing has a value


def _answer(question: Callable[[Any], T]) -> _Answer[T]:
    try:
        from keyring.backends import fail, null
        from keyring.errors import InitError, KeyringLocked, NoKeyringError
    except ImportError:
        return _Answer(None, KeyringUnusable(KeyProblem.NO_KEYRING))
    # Without a terminal, one that asks for a password would read standard input: messages, or a key.
    warnings.filterwarnings("error", category=getpass.GetPassWarning)
    try:
        backend = _backend()
        if isinstance(backend, null.Keyring | fail.Keyring):
            # The former takes every key and keeps none.
            return _Answer(None, KeyringUnusable(KeyProblem.NO_KEYRING))
        return _Answer(question(backend))
    except NotKept as error:
        return _Answer(None, error)
    except NoKeyringError:
        return _Answer(None, KeyringUnusable(KeyProblem.NO_KEYRING))
    except (KeyringLocked, InitError):
        return _Answer(None, KeyringUnusable(KeyProblem.KEYRING_LOCKED))
    except Exception:  # noqa: BLE001 - backends are plug-ins that raise what they like, text with secrets included
        return _Answer(None, KeyringUnusable(KeyProblem.KEYRING_FAILS))


def _backend() -> Any:
    """The keyring to use: the one that the person has named to the library, else the best of those that it
    recommends. What others it finds, `keyrings.alt` for one, keep keys in plain files, and nobody has asked
    for that."""
    import keyring
    from keyring import core

    if core.load_env() is None and core.load_config() is None:
        _look_for_recommended()
    return keyring.get_keyring()


@functools.cache
def _look_for_recommended() -> None:
    """Once, for it is slow; what a program has set since stays."""
    from keyring import core

    core.init_backend(core.recommended)


def _read(backend: Any, entries: tuple[str, ...]) -> str:
    found = ((backend.get_password(SERVICE, entry) or "").strip() for entry in entries)
    return next((value for value in found if value), "")


def _names(backend: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        entry for entry in dict.fromkeys((*known, *_index(backend))) if backend.get_password(SERVICE, entry)
    )


def _index(backend: Any) -> list[str]:
    return (backend.get_password(SERVICE, INDEX) or "").split()


def _store(backend: Any, entry: str, value: str) -> None:
    from keyring.errors import PasswordSetError

    try:
        backend.set_password(SERVICE, entry, value)
        if backend.get_password(SERVICE, entry) != value:
            raise NotKept
        index = _index(backend)
        if entry not in index:
            backend.set_password(SERVICE, INDEX, " ".join((*index, entry)))
    except (NotImplementedError, PasswordSetError):
        raise NotKept from None


def _remove(backend: Any, entries: tuple[str, ...]) -> bool:
    from keyring.errors import PasswordDeleteError

    there = [entry for entry in entries if backend.get_password(SERVICE, entry)]
    try:
        for entry in there:
            backend.delete_password(SERVICE, entry)
        index = _index(backend)
        if set(index) & set(entries):
            backend.set_password(SERVICE, INDEX, " ".join(name for name in index if name not in entries))
    except (NotImplementedError, PasswordDeleteError):
        raise NotKept from None
    return bool(there)
