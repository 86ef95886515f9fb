"""Where keys are kept: a real keyring, keyrings with every trouble there is, and a file of one's own."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError
from keyrings.alt.file import PlaintextKeyring

from core.base.errors import CaesuraError
from core.model.key_commands import KeyPlace
from providers.keys.file import KeyFile, KeyFileError
from providers.keys.finder import Key, KeyFinder, KeySource
from providers.keys.store import KeyEntry, KeyStore, KeyStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "sk-never-to-be-seen-7d1f"


class Troubled(KeyringBackend):
    """A backend that raises what it is given, with the key in its text, or waits until it is let go."""

    priority = -1.0  # never chosen by the library itself

    def __init__(self, trouble: type[Exception] | threading.Event, *, reads: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._trouble = trouble
        self._reads = reads

    def get_password(self, service: str, username: str) -> str | None:
        if not self._reads:
            self._do("reading")
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        self._do(password)

    def delete_password(self, service: str, username: str) -> None:
        self._do(username)

    def _do(self, words: str) -> None:
        if isinstance(self._trouble, threading.Event):
            self._trouble.wait()
        else:
            raise self._trouble(f"{words} {SECRET}")


class Forgetful(KeyringBackend):
    """Takes every key and keeps none."""

    priority = -1.0  # never chosen by the library itself

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def get_password(self, service: str, username: str) -> str | None:
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        pass

    def delete_password(self, service: str, username: str) -> None:
        raise PasswordDeleteError


@pytest.fixture(autouse=True)
def own_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "config" / "keys.toml")


@pytest.fixture
def alt(tmp_path: Path) -> PlaintextKeyring:
    """A real keyring, in a file of this test's own."""
    backend = PlaintextKeyring()
    backend.file_path = str(tmp_path / "keyring.cfg")
    keyring.set_keyring(backend)
    return backend


def names(store: KeyStore) -> list[tuple[str, KeySource]]:
    return [(entry.name, entry.source) for entry in store.list()]


def test_a_key_is_kept_in_the_keyring_found_listed_and_removed(alt: PlaintextKeyring, file: KeyFile) -> None:
    store = KeyStore({}, file=file)
    assert store.list() == ()
    assert store.set("anthropic", SECRET, KeyPlace.KEYRING) == ()
    # A new process looks for itself.
    store = KeyStore({}, file=file)
    assert store.list() == (KeyEntry("ANTHROPIC_API_KEY", "anthropic", KeySource.KEYRING),)
    assert KeyFinder({}, file=file).find("anthropic") == Key(SECRET, KeySource.KEYRING)
    assert not file.path.parent.exists()
    assert store.remove("anthropic") == (KeySource.KEYRING,)
    assert store.list() == ()
    assert store.remove("anthropic") == ()


def test_a_key_of_a_name_of_ones_own_is_listed_too(alt: PlaintextKeyring, file: KeyFile) -> None:
    KeyStore({}, file=file).set("TEAM_LLM_KEY", SECRET, KeyPlace.KEYRING)
    KeyStore({}, file=file).set("OTHER_KEY", SECRET, KeyPlace.KEYRING)
    store = KeyStore({"FROM_SETTINGS": "x"}, extra=["FROM_SETTINGS", ""], file=file)
    assert store.list() == (
        KeyEntry("FROM_SETTINGS", "", KeySource.ENVIRONMENT),
        KeyEntry("TEAM_LLM_KEY", "", KeySource.KEYRING),
        KeyEntry("OTHER_KEY", "", KeySource.KEYRING),
    )
    assert KeyFinder({}, file=file).find("openai", key_name="TEAM_LLM_KEY") == Key(SECRET, KeySource.KEYRING)
    store.remove("TEAM_LLM_KEY")
    assert ("TEAM_LLM_KEY", KeySource.KEYRING) not in names(store)


def test_what_was_stored_under_another_name_of_the_provider_goes_too(
    alt: PlaintextKeyring, file: KeyFile
) -> None:
    for entry in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "gemini"):
        alt.set_password("caesura", entry, SECRET)
    store = KeyStore({}, file=file)
    assert [name for name, _ in names(store)] == ["GEMINI_API_KEY", "GOOGLE_API_KEY", "gemini"]
    store.remove("gemini")
    assert store.list() == ()


def test_the_file_is_for_its_owner_alone_and_holds_a_key_in_one_place(
    alt: PlaintextKeyring, file: KeyFile
) -> None:
    store = KeyStore({}, file=file)
    store.set("openai", "old", KeyPlace.KEYRING)
    old = os.umask(0)
    try:
        assert store.set("openai", SECRET, KeyPlace.FILE) == ()
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert names(store) == [("OPENAI_API_KEY", KeySource.FILE)]
    assert KeyFinder({}, file=file).find("openai") == Key(SECRET, KeySource.FILE)
    store.set("openai", "new", KeyPlace.KEYRING)
    assert names(store) == [("OPENAI_API_KEY", KeySource.KEYRING)]
    assert not file.path.exists()
    assert [path.name for path in file.path.parent.iterdir()] == []


def test_what_the_environment_holds_goes_first_and_is_told(alt: PlaintextKeyring, file: KeyFile) -> None:
    store = KeyStore({"GOOGLE_API_KEY": "x", "GEMINI_API_KEY": " "}, file=file)
    (note,) = store.set("gemini", SECRET, KeyPlace.KEYRING)
    assert note == "GOOGLE_API_KEY is set in the environment, and goes before what is kept."
    assert names(store) == [
        ("GOOGLE_API_KEY", KeySource.ENVIRONMENT),
        ("GEMINI_API_KEY", KeySource.KEYRING),
    ]


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [
        (null.Keyring(), "There is no keyring on this machine. Nothing was stored."),  # type: ignore[no-untyped-call]
        (fail.Keyring(), "There is no keyring on this machine. Nothing was stored."),  # type: ignore[no-untyped-call]
        (Troubled(KeyringLocked), "The keyring is locked: unlock it and try again. Nothing was stored."),
        (Troubled(ValueError), "The keyring cannot be used: it fails. Nothing was stored."),
        (Troubled(NotImplementedError, reads=True), "The keyring takes no new key: nothing was stored."),
        (Troubled(PasswordSetError, reads=True), "The keyring takes no new key: nothing was stored."),
        (Forgetful(), "The keyring takes no new key: nothing was stored."),
    ],
)
def test_each_trouble_of_a_keyring_is_told_with_what_to_do(
    backend: KeyringBackend, sentence: str, file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    keyring.set_keyring(backend)
    store = KeyStore({}, file=file)
    with pytest.raises(KeyStoreError) as refused:
        store.set("openai", SECRET, KeyPlace.KEYRING)
    assert str(refused.value).startswith(sentence)
    assert "`caesura keys set openai --file`" in str(refused.value)
    assert SECRET not in str(refused.value) + caplog.text
    # Where the error came from is part of no report either.
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    # And the file is there for it.
    store.set("openai", SECRET, KeyPlace.FILE)
    assert (file_entry := ("OPENAI_API_KEY", KeySource.FILE)) in names(store), file_entry
    assert KeyFinder({}, file=file).find("openai") == Key(SECRET, KeySource.FILE)
    assert SECRET not in " ".join(store.report().problems)


def test_a_keyring_that_hangs_holds_up_nothing(file: KeyFile) -> None:
    let_go = threading.Event()
    keyring.set_keyring(Troubled(let_go))
    try:
        store = KeyStore({}, limit_s=1.0, file=file)
        assert "did not answer within 3 s" in " ".join(store.report().problems)
        with pytest.raises(KeyStoreError, match="Nobody can say whether it has stored the key"):
            store.set("openai", SECRET, KeyPlace.KEYRING)
        (note,) = store.set("openai", SECRET, KeyPlace.FILE)
        assert "If it holds an older key" in note
        assert names(store) == [("OPENAI_API_KEY", KeySource.FILE)]
        with pytest.raises(KeyStoreError, match=r"It may still hold the key\. It was removed from the file"):
            store.remove("openai")
        assert not file.path.exists()
    finally:
        let_go.set()
        for thread in threading.enumerate():
            if thread.name == "keyring":
                thread.join(10)


def test_a_disk_that_hangs_holds_up_nothing(alt: PlaintextKeyring, file: KeyFile) -> None:
    let_go = threading.Event()

    class Slow(KeyFile):
        def read(self) -> dict[str, str]:
            let_go.wait()
            return {}

    try:
        store = KeyStore({}, limit_s=0.5, file=Slow(file.path))
        assert any("did not answer within" in problem for problem in store.report().problems)
        with pytest.raises(KeyStoreError, match="did not answer within"):
            store.set("openai", SECRET, KeyPlace.FILE)
    finally:
        let_go.set()
        for thread in threading.enumerate():
            if thread.name == "file of keys":
                thread.join(10)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "There is no key yet"),
        ("sk two", "no blanks"),
        ("sk-1\nsk-2", "no blanks"),
        ("sk-\x1b[31m", "plain letters"),
        ("sk-\x00", "plain letters"),
        ("schlüssel", "plain letters"),
        ("'sk-1'", "without quotes"),
        ("OPENAI_API_KEY=sk-1", "without a name before it"),
        ("x" * 5000, "too long"),
    ],
)
@pytest.mark.parametrize("place", KeyPlace)
def test_what_can_be_no_key_is_not_stored(
    alt: PlaintextKeyring, file: KeyFile, value: str, words: str, place: KeyPlace
) -> None:
    store = KeyStore({}, file=file)
    with pytest.raises(KeyStoreError, match=words) as refused:
        store.set("openai", value, place)
    assert value == "" or value not in str(refused.value)
    assert store.list() == ()


def test_several_keys_of_the_file_come_and_go_one_by_one(file: KeyFile) -> None:
    odd = 'sk-"quotes"\\and/slashes='
    file.store("A_KEY", odd)
    file.store("B_KEY", "b")
    assert file.read() == {"A_KEY": odd, "B_KEY": "b"}
    assert file.remove(["A_KEY"])
    assert not file.remove(["A_KEY"])
    assert file.read() == {"B_KEY": "b"}


def test_two_programs_lose_none_of_each_others_keys(file: KeyFile) -> None:
    threads = [
        threading.Thread(target=KeyFile(file.path).store, args=(f"KEY_{number}", str(number)))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read() == {f"KEY_{number}": str(number) for number in range(8)}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_may_read_is_neither_read_nor_changed(file: KeyFile, mode: int) -> None:
    file.store("OPENAI_API_KEY", SECRET)
    file.path.chmod(mode)
    before = file.path.read_bytes()
    for use in (file.read, lambda: file.store("B_KEY", "b"), lambda: file.remove(["OPENAI_API_KEY"])):
        with pytest.raises(KeyFileError) as refused:
            use()
        assert f"`chmod 600 {file.path}`" in str(refused.value)
    assert file.path.read_bytes() == before
    file.path.chmod(0o600)
    assert file.read() == {"OPENAI_API_KEY": SECRET}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"A_KEY = {SECRET}", "see line 1"),
        (f'A_KEY = "x"\nB_KEY = "{SECRET}', "see line 2|its end"),
        (f'[table]\nA_KEY = "{SECRET}"', "table is no text"),
        (b"\xff\xfe", "no text"),
        ("A_KEY = " + "[" * 5_000, "is not understood"),
    ],
)
def test_a_broken_file_is_named_and_left_as_it_is(file: KeyFile, content: Any, words: str) -> None:
    file.store("A_KEY", "x")
    written = content if isinstance(content, bytes) else content.encode()
    file.path.write_bytes(written)
    for use in (file.read, lambda: file.store("B_KEY", "b")):
        with pytest.raises(CaesuraError, match=words) as refused:
            use()
        assert str(file.path) in str(refused.value)
        assert SECRET not in str(refused.value)
    assert file.path.read_bytes() == written


def test_what_is_no_file_is_refused_and_nobody_waits_for_it(file: KeyFile) -> None:
    file.path.parent.mkdir()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(KeyFileError, match="is no file"):
        file.read()
    file.path.unlink()
    file.path.mkdir()
    with pytest.raises(KeyFileError, match="is no file"):
        file.read()
