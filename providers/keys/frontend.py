"""Runs `caesura keys`: results go to standard output, messages to standard error.

A key is read from a terminal that does not show it, or from a pipe, and is never output. No model library is
loaded in this process; only `test` starts a process that has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from core.base.errors import CaesuraError
from core.base.output import write_output
from core.base.secrets import without_login
from core.cancel import Cancelled, CancelToken, stopped_by_signals
from core.model.key_commands import KeyPlace, KeysCommand, ListKeys, RemoveKey, SetKey, TryKey
from core.model.provider import ModelError
from providers.catalog import provider_of, title_of
from providers.keys.default_models import DEFAULT_MODELS, trial_request
from providers.keys.names import KeyName, UnknownKeyName, key_name, nearest_variable
from providers.keys.store import KeyStoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from core.model.provider import ModelProvider
    from providers.keys.store import KeyEntry, KeyStore

    MakeProvider = Callable[[], AbstractContextManager[ModelProvider]]

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
OUTPUT_CLOSED: Final = 141

_MOST_PIPED: Final = 65_536


class _Trial(NamedTuple):
    """A key and the model to try it with. `key_name` as in a request; `words` describes the key."""

    title: str
    model: str
    key_name: str | None
    words: str


def run_keys(
    command: KeysCommand, store: KeyStore, make_provider: MakeProvider, say: Callable[[str], None]
) -> int:
    """Run `command`. Returns the exit code.

    `make_provider` is entered once, and only for a test; `say` shows the user one sentence. Ctrl+C raises
    `KeyboardInterrupt` unless a request is under way, which it stops.
    """
    try:
        with _terminal_kept():
            match command:
                case ListKeys():
                    return _list(store, say)
                case SetKey():
                    return _set(command, store, say)
                case RemoveKey(name):
                    return _remove(name, store, say)
                case TryKey():
                    return _test(command, store, make_provider, say)
                case _:
                    assert_never(command)
    except UnknownKeyName as error:
        say(str(error))
        return USAGE
    except CaesuraError as error:
        say(str(error))
        return FAILED
    except BrokenPipeError:
        return OUTPUT_CLOSED


def _list(store: KeyStore, say: Callable[[str], None]) -> int:
    found = store.report()
    rows = [_row(entry, found.entries[:index]) for index, entry in enumerate(found.entries)]
    if rows:
        head = ("NAME", "PROVIDER", "KEPT IN")
        widths = [max(len(row[column]) for row in (head, *rows)) for column in (0, 1)]
        for name, provider, place in (head, *rows):
            _write(f"{name:{widths[0]}}  {provider:{widths[1]}}  {place}")
    for problem in found.problems:
        say(problem)
    if not rows:
        none = "No key was found" if found.problems else "There are no keys"
        say(f"{none}: `caesura keys set anthropic` stores one, for instance.")
    return OK


def _row(entry: KeyEntry, before: tuple[KeyEntry, ...]) -> tuple[str, str, str]:
    def is_the_same(other: KeyEntry) -> bool:
        return other.name == entry.name or (bool(entry.provider) and other.provider == entry.provider)

    first = next((other for other in before if is_the_same(other)), None)
    unused = f" (not used: {first.name} of the {first.source} goes before it)" if first else ""
    return entry.name, title_of(entry.provider) if entry.provider else "", f"{entry.source}{unused}"


def _set(command: SetKey, store: KeyStore, say: Callable[[str], None]) -> int:
    meant = key_name(command.name)
    if nearest := nearest_variable(meant):
        say(f"No provider is asked with {meant.variable}: did you mean {nearest}?")
    if command.place is KeyPlace.FILE:
        say(
            f"The key will be in {store.file.path}, readable by you alone, but not encrypted: whoever gets "
            "at your files, or at a copy of them, has it."
        )
    notes = store.set(command.name, _read_key(meant), command.place)
    where = "keyring" if command.place is KeyPlace.KEYRING else str(store.file.path)
    _write(f"{meant.variable} is stored in {'the ' if where == 'keyring' else ''}{where}.")
    for note in notes:
        say(note)
    return OK


def _remove(name: str, store: KeyStore, say: Callable[[str], None]) -> int:
    meant = key_name(name)
    places = store.remove(name)
    if places:
        _write(f"{meant.variable} is removed from the {' and the '.join(places)}.")
    else:
        say(f"{meant.variable} was not kept anywhere.")
    if store.in_environment(meant):
        say(f"{meant.variable} is still set in the environment: unset it there.")
    return OK if places else FAILED


def _read_key(meant: KeyName) -> str:
    """The key, typed without echo or piped in. Raises `KeyStoreError` if neither is possible."""
    if sys.stdin is None:
        raise KeyStoreError("Standard input is closed: type the key on a terminal, or pipe it in.")
    if sys.stdin.isatty():
        return _typed(f"Key for {meant.title} (it is not shown): ").strip(" \t")
    piped = sys.stdin.buffer.read(_MOST_PIPED).decode("latin-1")
    return piped.removesuffix("\n").removesuffix("\r")


def _typed(prompt: str) -> str:
    import getpass
    import warnings

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with warnings.catch_warnings():
            # Otherwise the code after the warning reads the key and shows it.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(prompt)
    except getpass.GetPassWarning:
        raise KeyStoreError(
            "This terminal cannot hide what is typed, so nothing was read: pipe the key in instead."
        ) from None
    except EOFError:
        return ""
    except (KeyboardInterrupt, SystemExit):
        # Later output must not follow the prompt on the same line.
        with contextlib.suppress(OSError):
            print(file=sys.stderr, flush=True)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _test(command: TryKey, store: KeyStore, make_provider: MakeProvider, say: Callable[[str], None]) -> int:
    trials = _trials(command, store)
    with make_provider() as provider:
        return asyncio.run(_try_all(trials, command.api_base, provider, say))


def _trials(command: TryKey, store: KeyStore) -> tuple[_Trial, ...]:
    """The tests to run. Raises `KeyStoreError` if the model to use is not known."""
    if command.name is None:
        if command.model is not None:
            return (_Trial(title_of(provider_of(command.model)), command.model, None, "its key"),)
        entries = store.list()
        found = tuple(
            _trial(key_name(provider), models.test, entries)
            for provider, models in DEFAULT_MODELS.items()
            if any(entry.provider == provider for entry in entries)
        )
        if not found:
            raise KeyStoreError("There is no key to test: `caesura keys list` shows what there is.")
        return found
    meant = key_name(command.name)
    usual = DEFAULT_MODELS.get(meant.provider)
    model = command.model or (usual.test if usual else None)
    if model is None:
        raise KeyStoreError(
            f"Say which model {meant.variable} is for: `caesura keys test {meant.cli_name} --model NAME`."
        )
    return (_trial(meant, model, store.list(), command.api_base),)


def _trial(meant: KeyName, model: str, entries: tuple[KeyEntry, ...], api_base: str | None = None) -> _Trial:
    found = next((entry for entry in entries if entry.name in meant.entries), None)
    words = meant.variable if found is None else f"{found.name} of the {found.source}"
    if api_base is not None:
        # Name this key: without it a server of the user's own might get none.
        return _Trial(
            f"The server at {without_login(api_base)}", model, found.name if found else meant.variable, words
        )
    usual = bool(meant.provider) and meant.cli_name == meant.provider and meant.provider == _family(model)
    return _Trial(title_of(_family(model)), model, None if usual else meant.variable, words)


def _family(model: str) -> str:
    """The provider whose key a request to `model` uses, under the name of its keys."""
    provider = provider_of(model)
    return {"cohere_chat": "cohere", "ollama_chat": "ollama"}.get(provider, provider)


async def _try_all(
    trials: tuple[_Trial, ...], api_base: str | None, provider: ModelProvider, say: Callable[[str], None]
) -> int:
    token = CancelToken("test of keys")
    try:
        with stopped_by_signals(token), token.bind():
            passed = [await _try(trial, api_base, provider, token, say) for trial in trials]
    except Cancelled as stop:
        say("Stopped: the connection is closed, and nothing is known of the key.")
        return 128 + signal.Signals[stop.reason.source]
    return OK if all(passed) else FAILED


async def _try(
    trial: _Trial,
    api_base: str | None,
    provider: ModelProvider,
    token: CancelToken,
    say: Callable[[str], None],
) -> bool:
    request = trial_request(trial.model, api_base, trial.key_name)
    begun = time.monotonic()
    try:
        await provider.stream(request, token, lambda _: None)
    except ModelError as error:
        say(str(error))
        return False
    _write(f"{trial.title} takes {trial.words}: {trial.model} answered in {time.monotonic() - begun:.1f} s.")
    return True


def _write(line: str) -> None:
    """Write a line to standard output at once. Raises `BrokenPipeError` if its reader has gone, and
    `OutputFailed`."""
    if sys.stdout is not None:
        write_output(f"{line}\n")


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Restore the terminal afterward: a keyring's own prompt may turn off echo and be cut off."""
    import termios

    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        before = termios.tcgetattr(fd)
        try:
            yield
        finally:
            if termios.tcgetattr(fd) != before:
                termios.tcsetattr(fd, termios.TCSADRAIN, before)
    finally:
        os.close(fd)
