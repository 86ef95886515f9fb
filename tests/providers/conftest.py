"""The model process of these tests: one for all that leave it alive, another for those that kill it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from core.model.server_options import Reader
from tests.providers.harness import plant, start
from tests.servers.registry import PROTOCOLS, READ_BY_LITELLM, WireProtocol
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from providers.client.model_process import ModelProcess

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(params=list(PROTOCOLS.values()), ids=list(PROTOCOLS))
def protocol(request: pytest.FixtureRequest) -> WireProtocol:
    assert isinstance(request.param, WireProtocol)
    return request.param


@pytest.fixture(
    params=[*PROTOCOLS.values(), *READ_BY_LITELLM],
    ids=lambda protocol: protocol.name + ("" if protocol.reader is Reader.OWN else " by litellm"),
)
def either_reader(request: pytest.FixtureRequest) -> WireProtocol:
    """A protocol and who reads it."""
    assert isinstance(request.param, WireProtocol)
    return request.param


@pytest.fixture(scope="session")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model") / "worker.log"


@pytest.fixture(scope="session")
def shared(log_file: Path) -> Iterator[ModelProcess]:
    """A warm model process that must not be killed."""
    with pytest.MonkeyPatch.context() as environment:
        plant(
            environment,
            HOME=str(log_file.parent),
            CAESURA_CHILD_REPORT=str(log_file.with_name("report")),
            CAESURA_CHILD_RELEASE=str(log_file.with_name("release")),
        )
        process = start(log_file)
    yield process
    process.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kill comes to the help of a stop, and answers may be late, as on a loaded machine."""
    monkeypatch.setattr("providers.client.link.CONFIRM_WITHIN_S", GENEROUS_S)
    monkeypatch.setattr("providers.client.catalog_queries.ANSWER_WITHIN_S", GENEROUS_S)


@pytest.fixture
def model(shared: ModelProcess, patient: None) -> Iterator[ModelProcess]:
    """The shared one; the test fails when it did not survive."""
    restarts = shared.restarts
    yield shared
    assert shared.restarts == restarts


@pytest.fixture(scope="session")
def blocked_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by a model process that is about to block itself: see `planted.py`."""
    return tmp_path_factory.mktemp("blocked") / "blocked"


@pytest.fixture(scope="module")
def mortal(blocked_file: Path) -> Iterator[ModelProcess]:
    """A warm model process that tests of a module may kill; the next one is on its way then."""
    with pytest.MonkeyPatch.context() as environment:
        plant(environment, HOME=str(blocked_file.parent), CAESURA_CHILD_BLOCKED=str(blocked_file))
        process = start()
        yield process
        process.close()
