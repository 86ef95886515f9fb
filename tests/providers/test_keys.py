"""Where keys come from, with real keyring backends: empty, filled, locked, broken, hung, none at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, NoKeyringError

from providers.keys import (
    PLACEHOLDER,
    Key,
    KeyFinder,
    KeyProblem,
    KeySource,
    endpoint,
    explain,
    is_loopback,
    key_variables,
)


class Backend(KeyringBackend):
    """A backend that answers with what it is given, and keeps count of the questions."""

    priority = -1.0  # never chosen by the library itself

    def __init__(self, read: Callable[[str], str | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read = read
        self.asked: list[tuple[str, str]] = []

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append((service, username))
        return self.read(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


Install = Callable[[Callable[[str], str | None]], Backend]


@pytest.fixture
def install() -> Iterator[Install]:
    before = keyring.get_keyring()

    def set_backend(read: Callable[[str], str | None]) -> Backend:
        backend = Backend(read)
        keyring.set_keyring(backend)
        return backend

    yield set_backend
    keyring.set_keyring(before)


def raising(error: Exception) -> Callable[[str], str | None]:
    def read(username: str) -> str | None:
        raise error

    return read


def test_the_environment_comes_first(install: Install) -> None:
    backend = install({"GEMINI_API_KEY": "from the keyring"}.get)
    found = KeyFinder({"GEMINI_API_KEY": " ", "GOOGLE_API_KEY": "abc\n"}).find("gemini")
    assert found == Key("abc", KeySource.ENVIRONMENT)
    assert backend.asked == []


def test_then_the_keyring_by_variable_and_by_provider(install: Install) -> None:
    backend = install({"gemini": "kept"}.get)
    assert KeyFinder({}).find("gemini") == Key("kept", KeySource.KEYRING)
    assert backend.asked == [("caesura", name) for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "gemini")]


def test_a_key_from_the_keyring_is_read_once_until_it_is_refused(install: Install) -> None:
    kept = {"OPENAI_API_KEY": "old"}
    backend = install(kept.get)
    finder = KeyFinder({})
    finder.find("openai")
    kept["OPENAI_API_KEY"] = "new"
    assert finder.find("openai") == Key("old", KeySource.KEYRING)
    assert len(backend.asked) == 1
    finder.forget("openai")
    assert finder.find("openai") == Key("new", KeySource.KEYRING)


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (lambda username: None, KeyProblem.MISSING),
        (raising(NoKeyringError("none")), KeyProblem.NO_KEYRING),
        (raising(KeyringLocked("locked")), KeyProblem.KEYRING_LOCKED),
        (raising(ValueError("D-Bus said something odd")), KeyProblem.KEYRING_FAILS),
    ],
)
def test_each_problem_is_told_apart(
    install: Install, read: Callable[[str], str | None], problem: KeyProblem
) -> None:
    install(read)
    assert KeyFinder({}).find("anthropic") is problem


def test_a_keyring_that_hangs_holds_nobody_up_and_is_asked_once(install: Install) -> None:
    answer = threading.Event()

    def hang(username: str) -> str | None:
        answer.wait()
        return None

    backend = install(hang)
    finder = KeyFinder({}, keyring_limit_s=0.02)
    try:
        assert finder.find("anthropic") is KeyProblem.KEYRING_HANGS
        assert finder.find("openai") is KeyProblem.KEYRING_HANGS
        assert len(backend.asked) == 1
    finally:
        answer.set()
        for thread in threading.enumerate():
            if thread.name == "keyring":
                thread.join(10)


def test_a_key_is_not_in_its_repr() -> None:
    assert "hush" not in repr(Key("hush", KeySource.KEYRING))


@pytest.mark.parametrize("problem", KeyProblem)
@pytest.mark.parametrize("provider", ["anthropic", "azure", "some_new_one"])
def test_each_problem_names_the_provider_and_the_variable(problem: KeyProblem, provider: str) -> None:
    sentence = explain(problem, provider)
    assert sentence.startswith("No key for ")
    assert key_variables(provider)[0] in sentence
    assert sentence.endswith(".")


def test_servers_that_need_no_key(install: Install) -> None:
    backend = install(raising(KeyringLocked("locked")))
    finder = KeyFinder({})
    placeholder = Key(PLACEHOLDER, KeySource.NOT_NEEDED)
    assert finder.find("ollama_chat") == placeholder
    assert finder.find("openai", api_base="http://127.0.0.1:8080/v1") == placeholder
    assert backend.asked == []
    assert finder.find("openai", api_base="https://models.example/v1") == placeholder
    assert finder.find("azure", api_base="https://us.openai.azure.com") is KeyProblem.KEYRING_LOCKED
    assert finder.find("bedrock") == Key(None, KeySource.OWN_CREDENTIALS)


def test_a_key_for_an_address_of_ones_own_is_used(install: Install) -> None:
    install({"OPENAI_API_KEY": "for the gateway"}.get)
    finder = KeyFinder({})
    assert finder.find("openai", api_base="https://models.example/v1") == Key(
        "for the gateway", KeySource.KEYRING
    )


def test_the_general_rule_for_names() -> None:
    assert key_variables("openai") == ("OPENAI_API_KEY",)
    assert key_variables("nvidia_nim") == ("NVIDIA_NIM_API_KEY",)
    assert key_variables("text-completion-openai") == ("TEXT_COMPLETION_OPENAI_API_KEY",)


def test_endpoints() -> None:
    azure = {"AZURE_API_BASE": "https://a", "AZURE_API_VERSION": "2024-10-21"}
    assert endpoint("azure", None, azure).api_base == "https://a"
    assert endpoint("azure", None, azure).api_version == "2024-10-21"
    assert endpoint("azure", "https://b", azure).api_base == "https://b"
    assert endpoint("ollama_chat", None, {"OLLAMA_API_BASE": "http://c"}).api_base == "http://c"
    assert endpoint("openai", None, {"OPENAI_BASE_URL": "http://d"}).api_base == "http://d"
    assert endpoint("openai", None, {}).api_base is None


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost/v1", True),
        ("http://[::1]:1/", True),
        ("https://api.openai.com/v1", False),
        ("http://localhost.example", False),
        ("http://192.168.1.5:8000", False),
        ("http://[nonsense", False),
        ("", False),
    ],
)
def test_loopback(address: str, own: bool) -> None:
    assert is_loopback(address) is own
