"""Shows a stored conversation as it looked when it happened.

The last messages are shown at once. The rest is prepared upwards from there, a few milliseconds at a time,
and put above the visible part, which does not move: the event loop stays free for keys, for Esc and for a
streaming reply. Nothing here changes a session or shows what is not in its record.

Background commands that ended, notices about the session itself and the calls of a sub-agent are not
recorded, and so not shown again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, assert_never

from core.model.messages import AssistantMessage, Reasoning, Text, ToolCall, ToolResults
from core.operations.events import CallEnded, Shown
from tui.transcript.card import Card
from tui.transcript.entries import summary_title
from tui.transcript.feed import Channel
from tui.transcript.stored_items import NoticeItem, PromptItem, ReplyItem, SummaryItem, chunks_from_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.messages import ToolResult
    from core.storage.records import CallCard, LoadedSession, StoredStep
    from tui.transcript.feed import Feed
    from tui.transcript.stored_items import StoredItem
    from tui.transcript.transcript import Transcript

SLICE_S = 0.003
REST_S = 0.003
"""After `SLICE_S` seconds of work other tasks get the event loop for `REST_S`."""
READ_CHARACTERS = 4_096


class StoredView:
    """Shows stored conversations.

    `freeze_started_objects` is called after each chunk. A long conversation has a hundred thousand objects
    that live as long as its transcript: `gc.freeze` keeps the collector from visiting them repeatedly, which
    would delay keys by tens of milliseconds.
    """

    def __init__(self, freeze_started_objects: Callable[[], object] = lambda: None) -> None:
        self._freeze_objects = freeze_started_objects
        self._since = time.perf_counter()

    async def show(self, loaded: LoadedSession, transcript: Transcript, *, read_only: bool = False) -> None:
        """Show `loaded` above the contents of `transcript`. Its last messages show long before this returns.

        After a cancellation the transcript works and shows the later part of the conversation. A session that
        is `read_only` may have a turn that runs elsewhere.
        """
        self._since = time.perf_counter()
        self._freeze_objects()
        with transcript.expecting_older():
            for chunk in chunks_from_end(loaded, read_only=read_only):
                feed = transcript.new_older(chunk.above)
                for item in chunk.items:
                    await self._show_item(item, feed)
                transcript.add_older(feed)
                self._freeze_objects()
                await self._rest()

    async def _show_item(self, item: StoredItem, feed: Feed) -> None:
        match item:
            case PromptItem(text):
                feed.add_prompt(text)
            case NoticeItem(text, kind):
                feed.add_notice(text, kind)
            case SummaryItem(made):
                feed.add_summary(summary_title(made.upto, undone=made.undone), made.summary)
            case ReplyItem(stored, mark):
                await self._show_step(stored, feed)
                feed.end_reply(mark)
            case _:
                assert_never(item)
        await self._read(feed)

    async def _show_step(self, stored: StoredStep, feed: Feed) -> None:
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
    """The card of an ended call. Without a record of the card it shows the result that the model was sent."""
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
