"""Stored conversations on the screen: as they looked, the end first, and nothing moves for the rest."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.selection import Selection

from core.cancel import CancelReason, Cause
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.model.provider import Closing, FailureKind, Finished, ModelChoice, ModelError, ToolCallDelta
from core.operations.events import Outcome, Shown, StopReport, TurnEnded
from core.operations.registry import Registry
from core.session.continuation import CONTINUE_PROMPT
from core.session.session import Session
from core.storage.records import CallCard, Compaction, LoadedSession, SessionInfo, StoredStep, TurnRecord
from tests.support.scripted_tools import PlayedTool, equipped
from tests.support.waiting import until
from tests.tui.stage import MODEL, HandPlayedModel
from tui.transcript import stored as replay
from tui.transcript.entries import summary_title
from tui.transcript.feed import Above, Channel, Feed
from tui.transcript.live import LiveView
from tui.transcript.plain import NoticeKind
from tui.transcript.stored import StoredView
from tui.transcript.stored_items import DIED, FIRST_MESSAGES, MAYBE_ALIVE
from tui.transcript.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot

INFO = SessionInfo("session", "", "/workspace", MODEL, 0.0, 0.0, 0)


class TwoTranscripts(App[None]):
    """What happens is shown in one of them, what was stored in the other."""

    CSS = "Transcript { height: 1fr; }"

    def compose(self) -> ComposeResult:
        yield Transcript(id="live")
        yield Transcript(id="replayed")


@asynccontextmanager
async def two_shown(width: int = 60) -> AsyncIterator[tuple[Transcript, Transcript, Pilot[None]]]:
    app = TwoTranscripts()
    async with app.run_test(size=(width, 40)) as pilot:
        yield app.query_one("#live", Transcript), app.query_one("#replayed", Transcript), pilot


class OneTranscript(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()


@asynccontextmanager
async def shown(width: int = 40, height: int = 10) -> AsyncIterator[tuple[Transcript, Pilot[None]]]:
    app = OneTranscript()
    async with app.run_test(size=(width, height)) as pilot:
        yield app.query_one(Transcript), pilot


def screen_of(transcript: Transcript) -> list[str]:
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


def rows_of(transcript: Transcript) -> list[str]:
    """All rows, whether or not they are on the screen."""
    document = transcript.feed.document
    document.settle(0, 1_000_000)
    pages = (page for page in document.pages if not page.entry.folded)
    return [line.text.rstrip() for page in pages for line in page.lines or ()]


async def replayed_rows(loaded: LoadedSession, *, read_only: bool = False) -> list[str]:
    async with shown(60, 40) as (transcript, _):
        await StoredView().show(loaded, transcript, read_only=read_only)
        return rows_of(transcript)


def said(
    number: int, turn: int, *parts: Reasoning | Text | ToolCall, interrupted: bool = False
) -> StoredStep:
    finish = None if interrupted else FinishReason.STOP
    return StoredStep(Step((AssistantMessage(parts, MODEL, finish, interrupted),)), turn, float(number))


def conversation(turns: int) -> LoadedSession:
    """Each turn: a prompt, a call in one reply, the answer in another; four messages."""
    steps: list[StoredStep] = []
    for turn in range(1, turns + 1):
        call = ToolCall(f"call {turn}", "read", "{}")
        result = ToolResult(call.call_id, "read", ResultStatus.COMPLETED, f"result {turn}")
        reply = AssistantMessage((Reasoning(f"thought {turn}"), call), MODEL, FinishReason.TOOL_CALLS)
        asked = Step((UserMessage(f"prompt {turn}"), reply, ToolResults((result,))))
        card = CallCard(call.call_id, f"file {turn}", Shown(f"result {turn}"), 1.0)
        steps.append(StoredStep(asked, turn, float(turn), cards=(card,)))
        steps.append(said(turn, turn, Text(f"answer {turn}\n\n- with\n- items\n")))
    records = (
        TurnRecord(turn, f"prompt {turn}", float(turn), outcome=Outcome.COMPLETED, kept=True)
        for turn in range(1, turns + 1)
    )
    return LoadedSession(INFO, tuple(steps), tuple(records))


def rows_of_turn(turn: int) -> list[str]:
    return [
        f"❯ prompt {turn}",
        "",
        "Thought (2 words) ▸",
        "",
        f"✓ read  file {turn}  1.0 s ▸",
        "",
        f"answer {turn}",
        "",
        "• with",
        "• items",
    ]


def rows_of_turns(turns: int) -> list[str]:
    rows: list[str] = []
    for turn in range(1, turns + 1):
        rows += ["", *rows_of_turn(turn)] if rows else rows_of_turn(turn)
    return rows


class Talk:
    """A session whose model is played by hand and which a pump shows."""

    def __init__(self, transcript: Transcript, *tools: PlayedTool) -> None:
        self.transcript = transcript
        self.model = HandPlayedModel()
        self.session = Session(self.model, Registry(), ModelChoice(MODEL), equipped(*tools))
        self.live = LiveView(transcript, lambda _: False)
        self.ended = 0
        self.session.subscribe(self.live.on_event)
        self.session.subscribe(self._count)

    def _count(self, event: object) -> None:
        self.ended += isinstance(event, TurnEnded)

    @property
    def stored(self) -> LoadedSession:
        return LoadedSession(INFO, self.session.record.steps, self.session.record.turns)

    async def ask(self, prompt: str) -> None:
        self.session.submit(prompt)
        await self.model.asked()

    async def go_on(self) -> None:
        self.session.resume()
        await self.model.asked()

    def call(self, *calls: tuple[str, str, str]) -> None:
        for index, (call_id, tool, do) in enumerate(calls):
            arguments = json.dumps({"do": do, "say": call_id})
            self.model.give(ToolCallDelta(index, arguments, call_id, tool))
        self.model.give(Finished(FinishReason.TOOL_CALLS, None, MODEL))

    async def end(self) -> None:
        before = self.ended
        await until(lambda: self.ended > before)

    async def stop(self) -> None:
        self.session.stop(CancelReason(Cause.USER, "escape"))
        await self.end()

    async def aclose(self) -> None:
        await self.session.aclose(CancelReason(Cause.QUIT, "end of the program"))
        await self.live.aclose()


async def play_everything(talk: Talk, tool: PlayedTool) -> None:
    """Turns that end in all the ways there are, and calls that do."""
    await talk.ask("hello **you**\nthere")
    talk.model.think("hm, *let* me")
    talk.model.say("Let me `look`.\n\n- one\n- two\n")
    talk.call(("one", "read", "return"), ("two", "read", "fail"), ("three", "fly", "return"))
    await talk.model.asked()
    talk.call(("four", "read", "return"))
    await talk.model.asked()
    talk.model.say("```python\nx = 1\n```\n| a | b |\n|---|---|\n| 1 | 2 |")
    talk.model.finish()
    await talk.end()
    await talk.ask("stopped in a reply")
    talk.model.think("well")
    talk.model.say("half of *it")
    await until(lambda: "half of it" in rows_of(talk.transcript))
    await talk.stop()
    await talk.go_on()
    talk.model.say("\n\n")
    talk.call(("five", "read", "hold"), ("six", "read", "return"))
    await until(lambda: tool.running)
    await talk.stop()
    await talk.ask("stopped before anything")
    await talk.stop()
    await talk.ask("failed in a reply")
    talk.model.say("half of that")
    talk.model.give(ModelError(FailureKind.BROKEN_STREAM, "The reply broke off: try again."))
    await talk.end()
    await talk.ask("failed before a reply")
    talk.model.give(ModelError(FailureKind.WRONG_KEY, "The key is wrong: set another."))
    await talk.end()


def without_what_is_not_recorded(rows: list[str]) -> list[str]:
    """Live notices say by what a turn was stopped, and where its prompt is; a long one takes more rows."""
    found: list[str] = []
    notice = False
    for row in rows:
        notice = row.startswith(("■ Stopped", "✗ The key is wrong")) or (notice and row.startswith("  "))
        if not notice:
            found.append(row)
        elif not row.startswith("  "):
            found.append(row[: len("■ Stopped")])
    return found


async def test_a_stored_conversation_looks_as_it_did_when_it_happened() -> None:
    async with two_shown() as (live, replayed, _):
        talk = Talk(live, tool := PlayedTool("read"))
        await play_everything(talk, tool)
        await talk.aclose()
        await StoredView().show(talk.stored, replayed)
        expected = without_what_is_not_recorded(rows_of(live))
        assert "┄ interrupted" in expected
        assert without_what_is_not_recorded(rows_of(replayed)) == expected
        for transcript in (live, replayed):
            transcript.toggle_cards()
            transcript.toggle_reasoning()
        expected = without_what_is_not_recorded(rows_of(live))
        assert "hm, let me" in expected
        assert without_what_is_not_recorded(rows_of(replayed)) == expected


@pytest.mark.parametrize("first", [1, 2, 3, 5, 30])
async def test_parts_are_put_together_without_a_seam(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.transcript.stored_items.FIRST_MESSAGES", first)
    monkeypatch.setattr("tui.transcript.stored_items.MOST_MESSAGES", first)
    async with two_shown() as (live, replayed, _):
        talk = Talk(live, tool := PlayedTool("read"))
        replayed.add_notice("welcome", NoticeKind.INFO)
        await play_everything(talk, tool)
        await talk.aclose()
        await StoredView().show(talk.stored, replayed)
        expected = without_what_is_not_recorded([*rows_of(live), "", "· welcome"])
        assert without_what_is_not_recorded(rows_of(replayed)) == expected


async def test_a_call_without_a_card_says_what_the_model_was_told() -> None:
    loaded = conversation(1)
    asked, answered = loaded.steps
    rows = await replayed_rows(replace(loaded, steps=(replace(asked, cards=()), answered)))
    assert "✓ read  completed ▸" in rows
    orphaned = replace(asked, step=Step(asked.step.messages[:2]), cards=())
    rows = await replayed_rows(replace(loaded, steps=(orphaned, answered)))
    assert "! read  its end was never reported" in rows


async def test_steps_without_a_turn_show_what_the_model_was_told() -> None:
    rows = await replayed_rows(replace(conversation(2), turns=()))
    assert rows == rows_of_turns(2)


async def test_a_turn_that_was_continued_shows_what_the_person_wrote() -> None:
    loaded = conversation(1)
    turn = replace(loaded.turns[0], prompt=CONTINUE_PROMPT, continued=True)
    assert (await replayed_rows(replace(loaded, turns=(turn,))))[0] == "❯ /continue"


NOT_STARTED = TurnRecord(2, "again", 9.0)
GO_ON = "What had arrived is kept; /continue goes on from there."


@pytest.mark.parametrize(
    ("outcome", "error", "kept", "rows"),
    [
        (Outcome.COMPLETED, None, True, ["❯ again", "", "half"]),
        (Outcome.CANCELLED, None, True, ["❯ again", "", "half", "", "■ Stopped. /continue goes on."]),
        (Outcome.CANCELLED, None, False, ["■ Stopped. Nothing of the turn was kept."]),
        (Outcome.TIMEOUT, None, False, ["■ Time is up. Nothing of the turn was kept."]),
        (Outcome.MAX_TURNS_REACHED, "Enough.", True, ["❯ again", "", "half", "", "■ Enough."]),
        (Outcome.ERROR, "It broke.", True, ["❯ again", "", "half", "", f"✗ It broke. {GO_ON}"]),
        (Outcome.ERROR, "It broke.", False, ["❯ again", "", "✗ It broke."]),
        (None, None, True, ["❯ again", "", "half", "", f"✗ {DIED} {GO_ON}"]),
        (None, None, False, ["❯ again", "", f"✗ {DIED}"]),
    ],
)
async def test_how_a_turn_ended_is_said_again(
    outcome: Outcome | None, error: str | None, kept: bool, rows: list[str]
) -> None:
    loaded = conversation(1)
    turn = replace(NOT_STARTED, outcome=outcome, error=error, kept=kept)
    steps = (*loaded.steps, said(9, 2, Text("half"))) if kept else loaded.steps
    async with shown(120, 40) as (transcript, _):
        await StoredView().show(replace(loaded, steps=steps, turns=(*loaded.turns, turn)), transcript)
        assert rows_of(transcript) == [*rows_of_turn(1), "", *rows]


@pytest.mark.promise("E6")
async def test_the_proof_of_a_stop_is_shown_again() -> None:
    loaded = conversation(1)
    proof = StopReport("escape", 0.0021, Closing.CLOSED, processes=2)
    turn = replace(NOT_STARTED, outcome=Outcome.CANCELLED, kept=True, proof=proof)
    loaded = replace(loaded, steps=(*loaded.steps, said(9, 2, Text("half"))), turns=(*loaded.turns, turn))
    rows = " ".join(row.strip() for row in await replayed_rows(loaded))
    assert rows.endswith(
        "■ Stopped by Esc after 2.1 ms: connection closed, 2 processes ended, 0 alive. "
        "/continue goes on, Esc Esc edits the prompt."
    )


async def test_a_turn_that_runs_elsewhere_has_not_died() -> None:
    loaded = conversation(1)
    loaded = replace(loaded, turns=(*loaded.turns, NOT_STARTED))
    rows = " ".join(row.strip() for row in await replayed_rows(loaded, read_only=True))
    assert MAYBE_ALIVE in rows
    assert DIED not in rows


def summary(number: int, upto: int, at: float, *, undone: bool = False) -> Compaction:
    return Compaction(number, upto, f"## What was said\n\n{number} **fact**", at, undone=undone)


async def test_a_summary_stands_where_it_was_made() -> None:
    loaded = conversation(3)
    turns = [replace(turn, at=turn.at * 10) for turn in loaded.turns]
    steps = [replace(step, at=step.turn * 10 + 1 + index % 2) for index, step in enumerate(loaded.steps)]
    made = (summary(1, 1, 11.5), summary(2, 2, 15.0, undone=True), summary(3, 4, 30.5), summary(4, 6, 40.0))
    rows = await replayed_rows(replace(loaded, steps=tuple(steps), turns=tuple(turns), compactions=made))
    first, second, third = map(rows_of_turn, (1, 2, 3))
    assert rows == [
        *first[:5],
        "",
        "Summary of the first step ▸",
        "",
        *first[6:],
        "",
        "Summary of the first 2 steps (undone) ▸",
        "",
        *second,
        "",
        third[0],
        "",
        "Summary of the first 4 steps ▸",
        *third[1:],
        "",
        "Summary of the first 6 steps ▸",
    ]


async def test_a_summary_unfolds_by_click_and_key_also_while_a_reply_goes_on() -> None:
    async with shown(40, 12) as (transcript, pilot):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, "before\n")
        transcript.feed.add_summary(summary_title(1_234), "# Facts\n- one")
        transcript.feed.receive(Channel.TEXT, "after")
        transcript.flush()
        folded = ["before", "", "Summary of the first 1,234 steps ▸", "", "after"]
        unfolded = [*folded[:2], "Summary of the first 1,234 steps ▾", "Facts", "• one", *folded[3:]]
        assert rows_of(transcript) == folded
        await pilot.pause()
        assert await pilot.click(Transcript, offset=(3, 2))
        assert rows_of(transcript) == unfolded
        transcript.toggle_reasoning()
        assert rows_of(transcript) == folded
        transcript.add_notice("help", NoticeKind.INFO)
        transcript.feed.receive(Channel.TEXT, " all")
        transcript.end_reply()
        assert rows_of(transcript) == [*folded[:4], "· help", "", "after all"]


async def test_what_comes_after_a_summary_stands_below_it() -> None:
    async with shown() as (transcript, _):
        transcript.feed.add_summary(summary_title(2), "one *fact*")
        transcript.flush()
        transcript.add_notice("help", NoticeKind.INFO)
        transcript.toggle_reasoning()
        assert rows_of(transcript) == ["Summary of the first 2 steps ▾", "one fact", "", "· help"]


async def test_the_end_is_there_before_anything_else_is_read() -> None:
    class Watched(tuple[StoredStep, ...]):
        """Steps that tell how far from the end they were looked at."""

        lowest = 1 << 20

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, int):
                self.lowest = min(self.lowest, index)
            return super().__getitem__(index)

    async with shown(40, 12) as (transcript, pilot):
        loaded = conversation(2_000)
        steps = Watched(loaded.steps)
        task = asyncio.create_task(StoredView().show(replace(loaded, steps=steps), transcript))
        await until(lambda: transcript.feed.document.first)
        assert steps.lowest > 4_000 - FIRST_MESSAGES
        assert screen_of(transcript)[-1] == "• items"
        task.cancel()
        await asyncio.wait({task})
        await pilot.pause()
        # Cancelled, it leaves the later part, to which more can be added.
        transcript.add_prompt("works")
        assert screen_of(transcript)[-2:] == ["", "❯ works"]
        assert not transcript._older_to_come


@pytest.mark.parametrize("text", ["word\n\n" * 100_000, "word " * 100_000], ids=["blocks", "one block"])
async def test_a_huge_reply_leaves_the_loop_to_others(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "SLICE_S", 0.0)
    monkeypatch.setattr(replay, "REST_S", 0.0)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with shown() as (transcript, _):
        counting = asyncio.create_task(count())
        await StoredView().show(LoadedSession(INFO, (said(1, 1, Text(text)),)), transcript)
        counting.cancel()
        assert turns > len(text) / replay.READ_CHARACTERS


async def test_ten_thousand_messages_while_a_reply_streams_and_the_start_is_asked_for() -> None:
    """Before the start is there, nothing moves for it; then it is on the screen, and nothing is missing."""
    async with shown(40, 12) as (transcript, _):
        task = asyncio.create_task(StoredView().show(conversation(2_500), transcript))
        await until(lambda: transcript.feed.document.first)
        transcript.add_prompt("live")
        transcript.feed.end_section()
        words = 0

        def stream() -> None:
            nonlocal words
            transcript.feed.receive(Channel.TEXT, f"word{words} ")
            transcript.flush()
            words += 1

        height = transcript.virtual_size.height
        while transcript.virtual_size.height < height + 1_000:
            stream()
            assert f"word{words - 1}" in "\n".join(screen_of(transcript))
            await asyncio.sleep(0)
        transcript.action_scroll_home()
        where, height = screen_of(transcript), transcript.virtual_size.height
        while transcript.virtual_size.height < height + 1_000:
            stream()
            assert screen_of(transcript)[:-1] == where[:-1]
            await asyncio.sleep(0)
        await task
        assert screen_of(transcript)[0] == "❯ prompt 1"
        transcript.action_scroll_end()
        transcript.end_reply()
        live = " ".join(f"word{number}" for number in range(words))
        rows = rows_of(transcript)
        expected = rows_of_turns(2_500)
        assert rows[: len(expected) + 4] == [*expected, "", "❯ live", "", rows[len(expected) + 3]]
        assert " ".join(rows[len(expected) + 3 :]) == live
        serials = [page.serial for page in transcript.feed.document.pages]
        assert all(one < other for one, other in pairwise(serials))


async def test_who_moves_on_is_not_taken_to_the_start() -> None:
    async with shown(40, 12) as (transcript, _):
        task = asyncio.create_task(StoredView().show(conversation(300), transcript))
        await until(lambda: transcript.feed.document.first)
        transcript.action_scroll_home()
        transcript.action_page_down()
        where = screen_of(transcript)
        await task
        assert screen_of(transcript) == where
        transcript.action_scroll_home()
        assert screen_of(transcript)[0] == "❯ prompt 1"


PIECES = st.sampled_from(
    [
        "word\n\n" * 5,
        "many words that are to be wrapped " * 6,
        "```py\nx = 1\n```\n",
        "| a | b |\n|-|-|\n| 1 | 2 |\n\n",
    ]
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("older"), st.lists(PIECES, min_size=1, max_size=4)),
        st.tuples(st.just("live"), PIECES),
        st.tuples(st.just("scroll"), st.integers(-40, 40)),
        st.tuples(st.just("resize"), st.integers(12, 50)),
        st.tuples(st.just("unfold"), st.none()),
    ),
    min_size=3,
    max_size=14,
)


def older(transcript: Transcript, texts: list[str]) -> Feed:
    feed = transcript.new_older(Above.TEXT)
    for text in texts:
        feed.receive(Channel.REASONING, "a thought")
        feed.receive(Channel.TEXT, text)
        feed.add_prompt("a prompt")
    return feed


@given(acts=ACTS)
@settings(max_examples=25, deadline=None)
def test_nothing_on_the_screen_moves_for_what_is_put_above(acts: list[tuple[str, object]]) -> None:
    async def play() -> None:
        async with shown(40, 10) as (transcript, pilot):
            transcript.add_older(older(transcript, ["word\n\n" * 30]))
            transcript.feed.end_section()
            for act in acts:
                match act:
                    case ("older", list(texts)):
                        before, new = screen_of(transcript), transcript._end.new_rows
                        transcript.add_older(older(transcript, texts))
                        assert screen_of(transcript) == before
                        assert transcript._end.new_rows == new
                    case ("live", str(text)):
                        transcript.feed.receive(Channel.TEXT, text)
                        transcript.flush()
                    case ("scroll", int(rows)):
                        transcript.scroll_to(y=transcript.scroll_offset.y + rows, animate=False)
                    case ("resize", int(width)):
                        await pilot.resize_terminal(width, 10)
                        await pilot.pause()
                    case _:
                        transcript.toggle_reasoning()
            document = transcript.feed.document
            tops = document._tops[: document._stale]
            document._changed(0)
            assert document.height > 0
            assert document._tops[: len(tops)] == tops

    asyncio.run(play())


async def test_what_was_prepared_for_another_width_fits() -> None:
    async with shown(20, 10) as (transcript, pilot):
        transcript.add_older(older(transcript, ["words to be wrapped " * 40]))
        transcript.scroll_to(y=10, animate=False)
        prepared = older(transcript, ["other words to be wrapped " * 40])
        prepared.end_section()
        await pilot.resize_terminal(50, 10)
        await pilot.pause()
        before, height = screen_of(transcript), transcript.virtual_size.height
        transcript.add_older(prepared)
        assert screen_of(transcript) == before
        guessed = transcript.virtual_size.height - height
        transcript.add_older(older(transcript, ["other words to be wrapped " * 40]))
        assert transcript.virtual_size.height - height == 2 * guessed
        rows = rows_of(transcript)
        assert len(rows) == transcript.feed.document.height
        assert "other words to be wrapped other words to be" in rows


async def test_a_selection_outlives_what_is_put_above() -> None:
    async with shown(30, 10) as (transcript, _):
        transcript.add_older(older(transcript, ["first line\nsecond line"]))
        rows = screen_of(transcript)
        style = next(iter(transcript.render_line(rows.index("second line")))).style
        assert style is not None
        _, y = style.meta["offset"]
        transcript.screen.selections = {transcript: Selection(Offset(0, y), Offset(6, y))}
        transcript.add_older(older(transcript, ["first line\nsecond line"] * 40))
        assert transcript.screen.get_selected_text() == "second"


async def test_the_bar_that_is_held_goes_on_from_the_same_text() -> None:
    async with shown() as (transcript, _):
        transcript.add_older(older(transcript, ["word\n\n" * 100]))
        transcript.scroll_to(y=50, animate=False)
        bar = transcript.vertical_scrollbar
        bar.grabbed_position = transcript.scroll_y
        transcript.add_older(older(transcript, ["word\n\n" * 100]))
        assert bar.grabbed_position == transcript.scroll_y
