"""A stored conversation on the screen, as it looked when it happened.

What was said last is shown at once. The rest is prepared from there upwards, a few milliseconds at a time,
and put above what is on the screen, which never moves for it: the event loop stays free for keys, for Esc and
for a reply that streams meanwhile. Nothing of a session is changed here, and nothing is shown that is not in
its record.

Not recorded, and so not shown again: background commands that ended, sentences about the session itself, and
the calls within a sub-agent's card.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, assert_never

from core.events import CallEnded, Shown
from core.messages import AssistantMessage, Reasoning, Text, ToolCall, ToolResults
from tui.cards import Card
from tui.scenes import NoticeScene, PromptScene, ReplyScene, SummaryScene, acts_from_end
from tui.widgets.transcript_entries import SummaryTitle
from tui.widgets.transcript_feed import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.messages import ToolResult
    from core.records import CallCard, LoadedSession, StoredStep
    from tui.scenes import Scene
    from tui.widgets.transcript import Transcript
    from tui.widgets.transcript_feed import Feed

SLICE_S = 0.003
REST_S = 0.003
"""After so many seconds of work the event loop is left to others for so long."""
READ_CHARACTERS = 4_096


class Replay:
    """Shows stored conversations.

    `settle_memory` is called when a part of one is there. A long one is hundred thousand objects that live as
    long as its transcript: `gc.freeze` keeps the collector from looking through them again and again, which
    would hold up the keyboard for tens of milliseconds.
    """

    def __init__(self, settle_memory: Callable[[], object] = lambda: None) -> None:
        self._settle_memory = settle_memory
        self._since = time.perf_counter()

    async def show(self, loaded: LoadedSession, transcript: Transcript, *, read_only: bool = False) -> None:
        """Show `loaded` above whatever `transcript` says; its end is there long before this returns.

        It belongs to whoever awaits it. Cancelled, it leaves a transcript that shows a later part of the
        conversation and works. A session that is `read_only` may have a turn that runs elsewhere.
        """
        self._since = time.perf_counter()
        self._settle_memory()
        with transcript.expecting_older():
            for act in acts_from_end(loaded, read_only=read_only):
                feed = transcript.new_older(act.above)
                for scene in act.scenes:
                    await self._play(scene, feed)
                transcript.add_older(feed)
                self._settle_memory()
                await self._rest()

    async def _play(self, scene: Scene, feed: Feed) -> None:
        match scene:
            case PromptScene(text):
                feed.add_prompt(text)
            case NoticeScene(text, kind):
                feed.add_notice(text, kind)
            case SummaryScene(made):
                feed.add_summary(SummaryTitle(made.upto, made.undone), made.summary)
            case ReplyScene(stored, interrupted):
                await self._play_step(stored, feed)
                feed.end_reply(interrupted=interrupted)
            case _:
                assert_never(scene)
        await self._read(feed)

    async def _play_step(self, stored: StoredStep, feed: Feed) -> None:
        messages = stored.step.messages
        results = {
            result.call_id: result
            for message in messages
            if isinstance(message, ToolResults)
            for result in message.results
        }
        cards = {card.call_id: card for card in stored.cards}
        parts = [
            part for message in messages if isinstance(message, AssistantMessage) for part in message.parts
        ]
        for part in parts:
            match part:
                case Reasoning(text):
                    feed.receive(Channel.REASONING, text)
                case Text(text):
                    feed.receive(Channel.TEXT, text)
                case ToolCall(call_id):
                    feed.add_card(_card(stored.turn, part, results.get(call_id), cards.get(call_id)))
                case _:
                    assert_never(part)
            await self._read(feed)

    async def _read(self, feed: Feed) -> None:
        while feed.read(READ_CHARACTERS):
            await self._give_way()
        await self._give_way()

    async def _give_way(self) -> None:
        if time.perf_counter() - self._since >= SLICE_S:
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(REST_S)
        self._since = time.perf_counter()


def _card(turn: int, call: ToolCall, result: ToolResult | None, known: CallCard | None) -> Card:
    """The card of an ended call; without a record of it with what the model was told, and nothing else."""
    card = Card(call.name)
    if result is None:
        card.start("")
        card.give_up()
        return card
    title, shown, seconds, proof = "", Shown(result.text), None, None
    if known is not None:
        title, shown, seconds, proof = known.title, known.shown, known.seconds, known.proof
    card.end(
        CallEnded(turn, call.call_id, call.name, title, result.status, shown, call.arguments, seconds, proof)
    )
    return card
