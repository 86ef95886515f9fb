"""A server and a program that the tests of a module share, because a model process takes seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.caesura import Caesura, running, talk_to
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with ThreadedServer(OpenAIServer()) as server:
        yield server


@pytest.fixture(scope="module")
def kitty() -> bool:
    """Whether the shared terminal knows the kitty protocol; a module may give it parameters."""
    return False


@pytest.fixture(scope="module")
def shared(
    server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, *, kitty: bool
) -> Iterator[Caesura]:
    with running(tmp_path_factory.mktemp("shared"), *talk_to(server), kitty=kitty) as app:
        yield app


@pytest.fixture
def app(shared: Caesura, server: OpenAIServer) -> Caesura:
    """The shared program, idle and with an empty composer."""
    shared.settle(server)
    return shared
