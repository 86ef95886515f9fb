"""Isolation that every test gets, and the number of processes that share the tests."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["pytester", "tests.promise_plugin"]

KEYS = (
    "OPENAI_API_KEY",
    "OPENAI_API_BASE",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_API_BASE",
    "AZURE_API_KEY",
    "AZURE_API_BASE",
    "AZURE_API_VERSION",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OLLAMA_API_BASE",
)
# Whatever the environment says: each of the hundreds of programs that the tests start would compile Caesura
# again, and each worker all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

FOR_TESTS = ("CAESURA_TEST_", "CAESURA_CHILD_", "CAESURA_KILLS")


# The same examples in every run, and no limit of time for one: a loaded machine is no failure.
# `--hypothesis-profile default` looks for new examples.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two workers for each core, as many tests wait. None for a single file: a worker takes seconds to
    start."""
    if len(config.args) == 1 and ".py" in config.args[0]:
        return 0
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Give signals their usual effect if the run was started with some ignored, as `nohup` does."""
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    for number in ignored:
        usual = signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the developer's folders, keys or terminal settings."""
    home = tmp_path_factory.mktemp("home")
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HOME", str(home))
    settings = [name for name in os.environ if name.startswith("CAESURA_") and not name.startswith(FOR_TESTS)]
    for name in settings:
        monkeypatch.delenv(name)
    for name in (*KEYS, "SSH_CONNECTION", "NO_COLOR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return home
