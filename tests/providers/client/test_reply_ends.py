"""P7 over a real connection: how a reply ended is on the screen's side, in the file and in the next request.

The session is in a file, the model process is the real one, the servers speak the providers' protocols.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec
import pytest

from core.cancel import CancelReason, Cause
from core.model.messages import AssistantMessage, FinishReason, ResultStatus, ToolResults
from core.model.provider import ModelChoice
from core.model.reply_end import ReplyEnd, note_for_model
from core.operations.events import Event, Outcome, TurnEnded
from core.operations.registry import Registry
from core.session.continuation import CONTINUE_PROMPT
from core.session.session import Session
from core.storage.store import Store
from providers.client.stream import result_of
from providers.wire import End, dump, load_to_parent
from providers.worker.http_stream import HttpStream
from tests.servers.base import ThreadedServer
from tests.servers.script import Call, Cut, ErrorEvent, Refusal, Reset, Script, Truncate, in_turn
from tests.support.scripted_tools import PlayedTool, equipped
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from providers.client.model_process import ModelProcess
    from providers.worker.exchange import Clients
    from providers.worker.outbox import Outbox
    from providers.worker.startup import Inbox
    from tests.servers.base import Server
    from tests.servers.registry import WireProtocol

pytestmark = pytest.mark.promise("P7")


@dataclass
class Talk:
    """A session in a file, and its server."""

    session: Session
    server: Server
    store: Store
    events: list[Event]
    tool: PlayedTool

    async def turn(self, prompt: str | None) -> TurnEnded:
        """The end of a turn with this prompt, or of one that `/continue` has begun."""
        if prompt is None:
            self.session.resume()
        else:
            self.session.submit(prompt)
        await until(lambda: not self.session.operations.snapshot())
        await self.session.wait_idle()
        assert self.server.complaints == []
        return [event for event in self.events if isinstance(event, TurnEnded)][-1]

    async def reply_in_file(self, step: int) -> AssistantMessage:
        loaded = await self.store.load(self.session.session_id)
        assert loaded.steps == self.session.record.steps
        (reply,) = (m for m in loaded.steps[step].step.messages if isinstance(m, AssistantMessage))
        return reply

    @property
    def last_prompt(self) -> str:
        return self.server.exchanges[-1].request.conversation.messages[-1].text


@asynccontextmanager
async def talking(
    model: ModelProcess, folder: Path, protocol: WireProtocol, *scripts: Script
) -> AsyncIterator[Talk]:
    store, tool = Store(folder / "caesura.db"), PlayedTool("read")
    name = protocol.model.replace("/", "/responses/") if protocol.uses_responses else protocol.model
    with ThreadedServer(protocol.server(in_turn(*scripts))) as server:
        equipment = msgspec.structs.replace(
            equipped(tool), make_journal=lambda session: store.create(session, "/w", name)
        )
        session = Session(model, Registry(), ModelChoice(name, server.url), equipment)
        talk = Talk(session, server, store, [], tool)
        session.subscribe(talk.events.append)
        try:
            yield talk
        finally:
            await session.aclose(CancelReason(Cause.QUIT, "quit"))
            await store.aclose()


ENDS = {
    "cut": (Script(finish=FinishReason.LENGTH), ReplyEnd.CUT, "Hello, world."),
    "cut while it thought": (
        Script(text=(), reasoning=("hm",), finish=FinishReason.LENGTH),
        ReplyEnd.CUT,
        "",
    ),
    "filtered": (Script(finish=FinishReason.CONTENT_FILTER), ReplyEnd.FILTERED, "Hello, world."),
    "refused": (Script(text=(), finish=FinishReason.CONTENT_FILTER), ReplyEnd.FILTERED, ""),
    "unknown": (Script(finish=FinishReason.OTHER), ReplyEnd.UNKNOWN, "Hello, world."),
    "empty": (Script(text=()), ReplyEnd.EMPTY, ""),
    "only thought": (Script(text=(), reasoning=("hm",)), ReplyEnd.EMPTY, ""),
    "broken off": (Script(fault=Truncate(after=2)), ReplyEnd.BROKEN_OFF, "Hello, "),
    "closed": (Script(fault=Cut(after=2)), ReplyEnd.BROKEN_OFF, "Hello, "),
    "reset": (Script(fault=Reset(after=2)), ReplyEnd.BROKEN_OFF, "Hello, "),
    "an error": (Script(fault=ErrorEvent(2, Refusal.SERVER_ERROR)), ReplyEnd.FAILED, "Hello, "),
}


@pytest.mark.promise("H2", "H4", "H9")
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("then", ["again", None], ids=["a prompt", "/continue"])
async def test_how_a_reply_ended_is_told_kept_and_sent(
    model: ModelProcess, tmp_path: Path, protocol: WireProtocol, name: str, then: str | None
) -> None:
    script, end, text = ENDS[name]
    if protocol.name == "ollama" and end is ReplyEnd.FILTERED:
        pytest.skip("Ollama has no content filter")
    async with talking(model, tmp_path, protocol, script, Script()) as talk:
        turn = await talk.turn("ask")
        assert (turn.outcome, turn.end, turn.text, turn.returned_prompt) == (Outcome.ERROR, end, text, None)
        assert turn.error
        reply = await talk.reply_in_file(0)
        assert (reply.end, reply.text) == (end, text)

        assert (await talk.turn(then)).outcome is Outcome.COMPLETED
        note = note_for_model(end, reply.words or "", above=bool(text))
        asked = then or CONTINUE_PROMPT
        assert talk.last_prompt == (f"{note}\n\n{asked}" if text else f"ask\n\n{note}\n\n{asked}")
        assert (await talk.reply_in_file(1)).end is ReplyEnd.COMPLETE


async def test_the_providers_words_come_through_to_the_engine() -> None:
    stream = HttpStream(1, cast("Outbox", None), cast("Inbox", None), cast("Clients", None))
    stream._summary.finish, stream._summary.words = FinishReason.OTHER, "RECITATION"
    line = dump(stream._end())
    end = load_to_parent(line)
    assert isinstance(end, End)
    finished = result_of(end)
    assert (finished.reason, finished.words) == (FinishReason.OTHER, "RECITATION")


@pytest.mark.promise("H4", "H5")
async def test_a_call_that_was_cut_does_not_run_and_reads_why(
    model: ModelProcess, tmp_path: Path, protocol: WireProtocol
) -> None:
    whole = Call("call_1", "read", ('{"say": ', '"a"}'))
    cut = Call("call_2", "read", ('{"say": ', '"b' if protocol.splits_calls else '"b"}'))
    script = Script(text=("I look.",), calls=(whole, cut), finish=FinishReason.LENGTH)
    async with talking(model, tmp_path, protocol, script, Script()) as talk:
        turn = await talk.turn("ask")
        # The model reads it within the turn, and what it says then is whole.
        assert (turn.outcome, turn.end) == (Outcome.COMPLETED, ReplyEnd.COMPLETE)
        assert talk.tool.begun == ["a"]
        assert (await talk.reply_in_file(0)).end is ReplyEnd.CUT
        (results,) = (m for m in talk.session.record.messages() if isinstance(m, ToolResults))
        assert [result.status for result in results.results] == [
            ResultStatus.COMPLETED,
            ResultStatus.NOT_STARTED,
        ]
        sent = talk.server.exchanges[-1].request.conversation.messages[-1].results
        assert "cut off by the output limit" in sent[1].text
