"""A server and a program that the tests of a module share, because a model process takes seconds to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import Script
from tests.support.program import Caesura, running, talk_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.record import Exchange, Request


class ConversationServer(OpenAIServer):
    """Plays its script in the conversation alone: what Caesura asks for itself beside that, a title or notes
    for its memory, has an answer of its own and is in none of `exchanges`."""

    def choose(self, request: Request) -> Script:
        return Script(text=("A title",)) if is_of_a_job(request) else super().choose(request)

    @property
    def exchanges(self) -> list[Exchange]:
        found = [exchange for exchange in super().exchanges if not is_of_a_job(exchange.request)]
        for index, exchange in enumerate(found):
            # Its place among these, and not among all.
            exchange.index = index
        return found


def is_of_a_job(request: Request) -> bool:
    """Whether a request comes from a job beside the conversation."""
    system = (request.conversation.system or "") if request.body.get("messages") else ""
    return system.startswith(("You name conversations", "You keep the notes"))


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAIServer]:
    with ThreadedServer(ConversationServer()) as server:
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
