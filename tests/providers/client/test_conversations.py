"""Random conversations with tools over a real connection: whatever is stopped, no request is ever refused.

The server is strict (`tests.servers.strict`): it answers 400 to every history that a provider would not take
back. A person stops calls, answers questions, presses Esc, quits, compacts and rewinds at random moments; the
server breaks streams off, falls silent and finds requests too long. `tests.benchmarks.interrupted` plays as
many more as one likes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.providers.played_conversations import Line, play
from tests.providers.random_conversations import RandomConversation, random_conversation
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Script

if TYPE_CHECKING:
    from providers.client.model_process import ModelProcess

CONVERSATIONS = st.randoms(use_true_random=False).map(random_conversation)


@pytest.mark.slow
@pytest.mark.promise("C1", "C2", "C3", "H1", "H3", "H4", "H5", "H6", "S3", "S8", "S9", "U8")
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=CONVERSATIONS)
def test_no_interrupted_conversation_is_refused(mortal: ModelProcess, chosen: RandomConversation) -> None:
    note(repr(chosen))
    with (
        TemporaryDirectory() as folder,
        ThreadedServer(PROTOCOLS["openai"].server(Script())) as server,
    ):
        asyncio.run(play(Line(mortal, server, server.url), Path(folder), chosen))
        assert server.complaints == []
