"""What odd servers send is read and sent back whole; what is not a whole reply is never taken for one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.model.messages import UserMessage
from core.model.provider import Finished, ModelError, ReasoningDelta
from tests.providers.client.test_tools import asking, reply_of, results_of
from tests.providers.harness import Asked, calls_of
from tests.providers.odd_replies import ODD_REPLIES, Odd
from tests.servers.base import Server, ThreadedServer
from tests.servers.frames import Frame
from tests.servers.registry import PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.client.model_process import ModelProcess
    from tests.servers.record import Request
    from tests.servers.script import Script


def playing(odd: Odd) -> Server:
    """A server that answers a first request with the odd reply, and later ones as it should."""
    usual: type[Server] = PROTOCOLS[odd.protocol].server

    class Playing(usual):  # type: ignore[misc, valid-type]
        def stream(self, script: Script, request: Request) -> Iterator[Frame]:
            if len(self.exchanges) > 1:
                return super().stream(script, request)  # type: ignore[no-any-return]
            return iter([Frame(odd.body)] if odd.body else [])

    return Playing()


@pytest.mark.promise("P6", "P7")
@pytest.mark.parametrize("odd", ODD_REPLIES, ids=str)
async def test_an_odd_reply_is_read_and_goes_back(model: ModelProcess, odd: Odd) -> None:
    protocol = PROTOCOLS[odd.protocol]
    with ThreadedServer(playing(odd)) as server:
        asked = Asked(model, asking(protocol, server))
        outcome = await asked.outcome()
        reasoning = "".join(delta.text for delta in asked.deltas if isinstance(delta, ReasoningDelta))
        assert (asked.text, reasoning) == (odd.text, odd.reasoning)
        if odd.failed is not None:
            assert isinstance(outcome, ModelError), outcome
            assert odd.failed in str(outcome)
            return
        assert isinstance(outcome, Finished), outcome
        assert (outcome.reason, outcome.words) == (odd.finish, odd.words)
        calls = calls_of(asked.deltas)
        assert tuple((name, json.loads(arguments or "{}")) for _, name, arguments in calls) == odd.calls
        if odd.usage is not None:
            assert outcome.usage == odd.usage

        reply = reply_of(asked)
        answer = results_of(reply, *("one", "two")[: len(calls)]) if calls else UserMessage("go on")
        second = Asked(model, asking(protocol, server, reply, answer))
        assert isinstance(await second.outcome(), Finished), await second.outcome()
        assert server.complaints == []
        sent = server.exchanges[1].request.conversation
    assert [(made.name, made.arguments) for made in sent.calls] == list(odd.calls)
    if odd.text:
        assert odd.text.replace("\ud83d", "?") in sent.messages[1].text
