"""Access to the desktop's keyring that can neither block the program nor leak a key in an error.

A backend is a plug-in: it may hang forever, ask for a password on an unseen screen, accept a key and not
store it, or raise an error whose text holds the key. So each request runs in its own thread, for a bounded
time; an exception becomes a `KeyProblem`, and its text is dropped.

Not solved: a backend that asks for a password on the terminal is cut off after the same time.
"""

from __future__ import annotations

import functools
import getpass
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from core.base.threads import start_daemon
from providers.keys.names import KEYRING_LIMIT_S, KeyProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

SERVICE = "caesura"
"""The keyring's service name; the user name is the environment variable's, or the provider's."""
INDEX = "names of the keys"
"""The user name of an entry that lists the others, because a keyring cannot list its entries."""

T = TypeVar("T")


class KeyringUnusable(Exception):
    """The keyring gave no usable answer. It carries nothing of the backend's text."""

    def __init__(self, problem: KeyProblem) -> None:
        super().__init__(problem)
        self.problem = problem


class NotKept(Exception):
    """The keyring accepts nothing new, or did not store what it accepted."""


class Keyring:
    """Each request takes up to `limit_s` seconds; while one hangs, no other is sent.

    Thread-safe enough for its use: two requests at once may both hang, which does no harm.
    """

    def __init__(self, limit_s: float = KEYRING_LIMIT_S) -> None:
        self._limit_s = limit_s
        self._hanging: Future[Any] | None = None

    def read(self, entries: Iterable[str]) -> str:
        """The first of these entries that it holds; empty for none. Raises `KeyringUnusable`."""

        def read(backend: Any) -> str:
            found = ((backend.get_password(SERVICE, entry) or "").strip() for entry in entries)
            return next((value for value in found if value), "")

        return self._ask(read)

    def names(self, known: Iterable[str]) -> tuple[str, ...]:
        """Which of `known`, and of those stored with `store`, it holds. Raises `KeyringUnusable`."""

        def names(backend: Any) -> tuple[str, ...]:
            entries = dict.fromkeys((*known, *_index(backend)))
            return tuple(entry for entry in entries if backend.get_password(SERVICE, entry))

        return self._ask(names)

    def store(self, entry: str, value: str) -> None:
        """Store a key. Raises `KeyringUnusable` and `NotKept`."""

        def store(backend: Any) -> None:
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

        self._ask(store)

    def remove(self, entries: Iterable[str]) -> bool:
        """Remove these entries. Returns whether it held any. Raises `KeyringUnusable` and `NotKept`."""
        gone = tuple(entries)

        def remove(backend: Any) -> bool:
            from keyring.errors import PasswordDeleteError

            there = [entry for entry in gone if backend.get_password(SERVICE, entry)]
            try:
                for entry in there:
                    backend.delete_password(SERVICE, entry)
                index = _index(backend)
                if set(index) & set(gone):
                    backend.set_password(SERVICE, INDEX, " ".join(name for name in index if name not in gone))
            except (NotImplementedError, PasswordDeleteError):
                raise NotKept from None
            return bool(there)

        return self._ask(remove)

    def _ask(self, question: Callable[[Any], T]) -> T:
        if self._hanging is not None and not self._hanging.done():
            raise KeyringUnusable(KeyProblem.KEYRING_HANGS)
        # A daemon, because a hung backend cannot be interrupted and must not keep the process alive.
        answer = start_daemon(lambda: _answer(question), name="keyring")
        try:
            return answer.result(self._limit_s)
        except TimeoutError:
            self._hanging = answer
            raise KeyringUnusable(KeyProblem.KEYRING_HANGS) from None


def _answer(question: Callable[[Any], T]) -> T:
    try:
        from keyring.backends import fail, null
        from keyring.errors import InitError, KeyringLocked, NoKeyringError
    except ImportError:
        raise KeyringUnusable(KeyProblem.NO_KEYRING) from None
    # Without a terminal, a backend that asks for a password would read standard input: messages, or a key.
    warnings.filterwarnings("error", category=getpass.GetPassWarning)
    try:
        backend = _backend()
        # The former accepts every key and stores none.
        if not isinstance(backend, null.Keyring | fail.Keyring):
            return question(backend)
        problem = KeyProblem.NO_KEYRING
    except NotKept:
        raise
    except NoKeyringError:
        problem = KeyProblem.NO_KEYRING
    except (KeyringLocked, InitError):
        problem = KeyProblem.KEYRING_LOCKED
    except BaseException:  # noqa: BLE001 - backends are plug-ins that raise what they like, Rust's panics too
        problem = KeyProblem.KEYRING_FAILS
    # Not in the handler: the text of the error may hold secrets.
    raise KeyringUnusable(problem)


def _backend() -> Any:
    """The keyring to use: the one that the user has configured in the library, else the best of those that it
    recommends. Others that it finds, such as `keyrings.alt`, store keys in plain files without being asked
    to."""
    import keyring
    from keyring import core

    if core.load_env() is None and core.load_config() is None:
        _look_for_recommended()
    return keyring.get_keyring()


@functools.cache
def _look_for_recommended() -> None:
    """Initialize the recommended backends. Once, because it is slow; later changes by a program stay."""
    from keyring import core

    core.init_backend(core.recommended)


def _index(backend: Any) -> list[str]:
    return (backend.get_password(SERVICE, INDEX) or "").split()
