"""Where keys come from, with real keyring backends: empty, filled, locked, broken, hung, none at all."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import null
from keyring.errors import KeyringLocked, NoKeyringError

from core.process.command import child_environment
from providers.catalog import TITLES
from providers.keys.file import KeyFile
from providers.keys.finder import (
    PLACEHOLDER,
    Key,
    KeyFinder,
    KeySource,
    is_loopback,
)
from providers.keys.names import (
    OWN_CREDENTIALS,
    OWN_TOOLS,
    KeyProblem,
    UnknownKeyName,
    all_key_variables,
    explain,
    key_name,
    key_variables,
)

if TYPE_CHECKING:
    from pathlib import Path


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


def raising(error: BaseException) -> Callable[[str], str | None]:
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
        # As a panic of Rust, and a backend that ends its program.
        (raising(BaseException("panic")), KeyProblem.KEYRING_FAILS),
        (raising(SystemExit(1)), KeyProblem.KEYRING_FAILS),
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
        join_keyring()
    # It has answered after all: the person has typed its password, for instance.
    backend.read = {"ANTHROPIC_API_KEY": "unlocked"}.get
    assert finder.find("anthropic") == Key("unlocked", KeySource.KEYRING)


def join_keyring() -> None:
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


def test_a_key_for_this_run_comes_after_the_environment_and_before_what_is_kept(install: Install) -> None:
    backend = install({"OPENAI_API_KEY": "kept"}.get)
    finder = KeyFinder({"GEMINI_API_KEY": "environment"})
    finder.use("OPENAI_API_KEY", " for this run\n")
    finder.use("gemini", "for this run")
    assert finder.find("openai") == Key("for this run", KeySource.THIS_RUN)
    assert finder.find("gemini") == Key("environment", KeySource.ENVIRONMENT)
    assert backend.asked == []
    finder.use("OPENAI_API_KEY", "")
    assert finder.find("openai") == Key("kept", KeySource.KEYRING)


def test_the_file_comes_last_and_also_where_the_keyring_is_of_no_use(
    install: Install, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.toml")
    file.store("OPENAI_API_KEY", "from the file")
    finder = KeyFinder({}, file=file)
    install({"OPENAI_API_KEY": "from the keyring"}.get)
    assert finder.find("openai") == Key("from the keyring", KeySource.KEYRING)
    finder.forget("openai")
    for read in (raising(KeyringLocked("locked")), raising(RuntimeError("broken")), lambda username: None):
        install(read)
        assert finder.find("openai") == Key("from the file", KeySource.FILE)
    assert finder.find("anthropic") is KeyProblem.MISSING
    file.path.chmod(0o640)
    assert finder.find("openai") is KeyProblem.FILE_UNUSABLE


def test_a_keyring_that_keeps_nothing_is_none() -> None:
    assert isinstance(keyring.get_keyring(), null.Keyring)
    assert KeyFinder({}).find("openai") is KeyProblem.NO_KEYRING


ADDRESSES = (None, "http://127.0.0.1:4000", "https://models.example/v1")
USUAL = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "openai", "bedrock", "ollama"), "the usual one")


@pytest.mark.parametrize("api_base", ADDRESSES)
@pytest.mark.parametrize("provider", ["openai", "anthropic", "bedrock", "ollama_chat", "litellm_proxy"])
def test_a_request_with_a_name_for_its_key_never_gets_another_one(
    install: Install, provider: str, api_base: str | None
) -> None:
    backend = install(USUAL.get)
    finder = KeyFinder(USUAL)
    for name in USUAL:
        finder.use(name, "the usual one")
    assert finder.find(provider, api_base=api_base, key_name="TEAM_LLM_KEY") is KeyProblem.MISSING
    assert backend.asked == [("caesura", "TEAM_LLM_KEY")]
    assert finder.find(provider, api_base=api_base, key_name="") == Key(PLACEHOLDER, KeySource.NOT_NEEDED)
    finder.use("TEAM_LLM_KEY", "the team's")
    assert finder.find(provider, api_base=api_base, key_name="TEAM_LLM_KEY") == Key(
        "the team's", KeySource.THIS_RUN
    )


def test_a_named_key_from_the_keyring_is_its_own_and_is_forgotten_by_name(install: Install) -> None:
    kept = {"TEAM_LLM_KEY": "the team's", "OPENAI_API_KEY": "one's own"}
    backend = install(kept.get)
    finder = KeyFinder({})
    assert finder.find("openai", key_name="TEAM_LLM_KEY") == Key("the team's", KeySource.KEYRING)
    assert finder.find("openai") == Key("one's own", KeySource.KEYRING)
    kept |= {"TEAM_LLM_KEY": "new", "OPENAI_API_KEY": "new too"}
    finder.forget("openai", key_name="TEAM_LLM_KEY")
    assert finder.find("openai", key_name="TEAM_LLM_KEY") == Key("new", KeySource.KEYRING)
    assert finder.find("openai") == Key("one's own", KeySource.KEYRING)
    assert len(backend.asked) == 3


def test_a_proxy_on_this_machine_wants_its_key(install: Install) -> None:
    backend = install({"LITELLM_PROXY_API_KEY": "sk-team"}.get)
    proxy = "http://127.0.0.1:4000"
    assert KeyFinder({}).find("litellm_proxy", api_base=proxy) == Key("sk-team", KeySource.KEYRING)
    assert KeyFinder({}).find("openai", api_base=proxy) == Key(PLACEHOLDER, KeySource.NOT_NEEDED)
    assert len(backend.asked) == 1


@pytest.mark.parametrize("problem", KeyProblem)
def test_what_is_missing_is_called_by_the_name_in_the_settings(problem: KeyProblem) -> None:
    sentence = explain(problem, "openai", "TEAM_LLM_KEY")
    assert sentence.startswith("No key called TEAM_LLM_KEY: ")
    assert "OPENAI" not in sentence.upper()


def test_every_variable_of_a_provider_is_kept_from_commands() -> None:
    names = all_key_variables(["TEAM_LLM_KEY", ""])
    assert {name for provider in TITLES for name in key_variables(provider)} - names == OWN_TOOLS
    assert {"TEAM_LLM_KEY", "OPENROUTER_API_KEY", "XAI_API_KEY", "LITELLM_PROXY_API_KEY"} <= names
    assert {"ANTHROPIC_AUTH_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AZURE_AD_TOKEN"} <= names
    own = {"AWS_SECRET_ACCESS_KEY": "x", "GITHUB_TOKEN": "y", "PATH": "/bin"}
    environment = own | dict.fromkeys(names, "a key")
    kept = child_environment(environment, names)
    assert own.items() <= kept.items()
    assert "a key" not in kept.values()
    # A token of one's own tools that the settings name as a key is one.
    assert "GITHUB_TOKEN" in all_key_variables(["GITHUB_TOKEN"])


@pytest.mark.parametrize(
    ("said", "variable", "provider"),
    [
        ("anthropic", "ANTHROPIC_API_KEY", "anthropic"),
        ("OpenAI", "OPENAI_API_KEY", "openai"),
        ("together-ai", "TOGETHERAI_API_KEY", "together_ai"),
        ("google", "GEMINI_API_KEY", "gemini"),
        ("grok", "XAI_API_KEY", "xai"),
        ("sambanova", "SAMBANOVA_API_KEY", "sambanova"),
        ("GOOGLE_API_KEY", "GOOGLE_API_KEY", "gemini"),
        ("TEAM_LLM_KEY", "TEAM_LLM_KEY", ""),
    ],
)
def test_a_key_goes_by_its_provider_or_its_variable(said: str, variable: str, provider: str) -> None:
    found = key_name(said)
    assert (found.variable, found.provider) == (variable, provider)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("antropic", "did you mean anthropic?"),
        ("gogle", "did you mean gemini?"),
        ("bedrock", "Amazon Bedrock has no key"),
        ("qqqq", "There is no provider 'qqqq'"),
        ("sk-proj-0123456789abcdef", "looks like a key"),
        ("", "There is no provider ''"),
    ],
)
def test_what_is_no_name_of_a_key(said: str, words: str) -> None:
    with pytest.raises(UnknownKeyName) as refused:
        key_name(said)
    assert words in str(refused.value)
    assert "0123456789" not in str(refused.value)


def test_the_general_rule_for_names() -> None:
    assert key_variables("openai") == ("OPENAI_API_KEY",)
    assert key_variables("nvidia_nim") == ("NVIDIA_NIM_API_KEY",)
    assert key_variables("text-completion-openai") == ("TEXT_COMPLETION_OPENAI_API_KEY",)


def test_endpoints() -> None:
    azure = {"AZURE_API_BASE": "https://a", "AZURE_API_VERSION": "2024-10-21"}
    assert KeyFinder(azure).endpoint("azure", None).api_base == "https://a"
    assert KeyFinder(azure).endpoint("azure", None).api_version == "2024-10-21"
    assert KeyFinder(azure).endpoint("azure", "https://b").api_base == "https://b"
    assert KeyFinder({"OLLAMA_API_BASE": "http://c"}).endpoint("ollama_chat", None).api_base == "http://c"
    assert KeyFinder({"OPENAI_BASE_URL": "http://d"}).endpoint("openai", None).api_base == "http://d"
    assert KeyFinder({}).endpoint("openai", None).api_base is None


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


@pytest.mark.parametrize("provider", [*TITLES, "some_new_one", "text-completion-openai"])
def test_what_is_advised_can_be_done(provider: str) -> None:
    if provider in OWN_CREDENTIALS:
        return
    name = re.search("`caesura keys set (\\w+)`", explain(KeyProblem.MISSING, provider))
    assert name is not None
    assert key_name(name[1]).variable == key_variables(provider)[0]
