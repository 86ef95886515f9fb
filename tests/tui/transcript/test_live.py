"""The pump between a real session and a real transcript: what is shown, when, and in which order."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from textual.app import App, ComposeResult
from textual.selection import SELECT_ALL

from core.cancel import CancelReason, Cause
from core.engine.turn import Limits
from core.model.messages import AssistantMessage, FinishReason, ResultStatus
from core.model.provider import FailureKind, Finished, ModelChoice, ModelError, TextDelta, ToolCallDelta
from core.operations.events import (
    Answer,
    AnswerKind,
    BackgroundEnded,
    CallEnded,
    CallNamed,
    CallStarted,
    Event,
    Notice,
    Outcome,
    QuestionAsked,
    ReasoningArrived,
    Shown,
    TextArrived,
    TurnEnded,
    TurnStarted,
)
from core.operations.registry import Registry
from core.session.continuation import CONTINUE_PROMPT
from core.session.session import Session
from tests.support.scripted_tools import AskingTool, PlayedTool, equipped
from tests.support.waiting import GENEROUS_S
from tests.tui.stage import MODEL, Deaf, HandPlayedModel, Stage
from tui.terminal.interrupt import InterruptKey
from tui.transcript.feed import SLICE, Feed
from tui.transcript.live import SLOW, LiveView
from tui.transcript.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from textual.pilot import Pilot

    from core.session.dependencies import SessionDependencies

PIECES = tuple(f"piece {number} of many.\n" for number in range(20_000))
LAST = PIECES[-1].strip()


class CountingTranscript(Transcript):
    """A transcript that counts how often it is told to show what has arrived."""

    shown = 0

    def flush(self) -> bool:
        self.shown += 1
        return super().flush()


class PumpApp(App[None]):
    def compose(self) -> ComposeResult:
        yield CountingTranscript()


async def test_text_is_merged_and_nothing_is_shown_before_its_frame() -> None:
    app = PumpApp()
    async with app.run_test() as pilot:
        transcript = app.query_one(CountingTranscript)
        live = LiveView(transcript, lambda _: False)
        live.on_event(TurnStarted(1, "hello", 0.0))
        for number in range(300):
            live.on_event(ReasoningArrived(1, f"thought {number} "))
            live.on_event(TextArrived(1, f"word {number} "))
        assert transcript.shown == 0
        async with asyncio.timeout(GENEROUS_S):
            while not transcript.shown:
                await pilot.pause()
        assert transcript.shown == 1
        await live.aclose()


@pytest.mark.promise("E10")
@pytest.mark.parametrize("pieces", [("one line",), PIECES], ids=["short", "backlog"])
async def test_at_a_normal_end_every_character_is_on_the_screen(stage: Stage, pieces: Sequence[str]) -> None:
    await stage.ask("hello")
    stage.model.say(*pieces)
    stage.model.finish()
    await stage.until(lambda: pieces[-1].strip() in "\n".join(stage.rows))
    assert _joined(stage) == " ".join(("hello " + "".join(pieces)).split())
    assert "interrupted" not in stage.transcript


@pytest.mark.promise("E10", "P3", "H2")
async def test_after_a_stop_nothing_streams_on(stage: Stage) -> None:
    stage.model.manner = deaf = Deaf()
    await stage.ask("hello")
    stage.model.say(*PIECES)
    emit = stage.model.emits[0]
    # All of it has been received, and hardly any of it drawn.
    await stage.until(lambda: stage.session.record.plain_steps == () and "piece 0" in stage.transcript)
    assert await stage.press_at_once(InterruptKey.ESCAPE)
    emit(TextDelta("a ghost while stopping"))
    assert stage.session.force()
    await stage.until_said("Stopped by Esc")
    before = stage.transcript
    assert before.count("interrupted") == 1
    emit(TextDelta("a ghost afterwards"))
    stage.model.say("and another one")
    deaf.released.set()
    await stage.until(lambda: stage.registry.snapshot() == ())
    assert stage.transcript == before
    assert "ghost" not in before
    # What was received and what is shown are the same.
    kept = stage.session.record.plain_steps[-1].messages[-1]
    assert isinstance(kept, AssistantMessage)
    assert " ".join(kept.text.split()) in _joined(stage)


def _joined(stage: Stage) -> str:
    return " ".join(stage.transcript.split())


@pytest.mark.promise("E10", "U3")
async def test_the_next_turn_waits_for_the_end_of_a_backlog(stage: Stage) -> None:
    await stage.ask("first prompt")
    await stage.send("second prompt")
    stage.model.say(*PIECES)
    stage.model.finish()
    stage.model.say("the second reply")
    stage.model.finish()
    await stage.until_said("the second reply")
    assert_in_order(stage, "first prompt", "piece 0", LAST, "second prompt", "the second reply")


@pytest.mark.promise("E10", "U8")
async def test_the_notice_of_a_turn_stands_before_a_turn_that_begins_at_its_end(stage: Stage) -> None:

    def go_on(event: Event) -> None:
        if isinstance(event, TurnEnded) and event.turn_id == 1:
            stage.session.submit("second prompt")

    stage.session.subscribe(go_on)
    await stage.ask("first prompt")
    stage.model.say(*PIECES)
    await stage.until(lambda: "piece 0" in stage.transcript)
    stage.session.stop(CancelReason(Cause.USER, "escape"))
    await stage.say("the second reply")
    notice = "Stopped by Esc"
    assert_in_order(
        stage, "first prompt", "piece 0", "interrupted", notice, "second prompt", "the second reply"
    )


def assert_in_order(stage: Stage, *words: str) -> None:
    text = stage.transcript
    places = [text.find(word) for word in words]
    assert -1 not in places, dict(zip(words, places, strict=True))
    assert places == sorted(places), dict(zip(words, places, strict=True))


@pytest.mark.promise("H1")
async def test_a_prompt_that_was_rolled_back_returns_to_the_empty_composer(stage: Stage) -> None:
    await stage.ask("what I asked")
    await stage.press("escape")
    await stage.until_said("Your prompt is back below.")
    assert stage.pane.prompt.draft == "what I asked"
    assert "what I asked" not in stage.transcript
    assert stage.session.record.plain_steps == ()


@pytest.mark.promise("H1", "E1")
async def test_a_prompt_that_was_rolled_back_never_takes_the_place_of_a_draft(stage: Stage) -> None:
    await stage.ask("what I asked")
    await stage.press(*"draft", "escape")
    await stage.until_said("Up brings the prompt back, /continue sends it again.")
    assert stage.pane.prompt.draft == "draft"
    assert "what I asked" not in stage.transcript
    await stage.press("up")
    assert stage.pane.prompt.draft == "what I asked"


@pytest.mark.promise("H1", "H9")
async def test_a_continue_that_was_rolled_back_is_offered_again(stage: Stage) -> None:
    await stage.ask("hello")
    await stage.say("half of it")
    await stage.press("escape")
    await stage.until_said("/continue goes on, Esc Esc edits the prompt.")
    await stage.ask("/continue")
    await stage.press("escape")
    await stage.until_said("/continue goes on, Esc Esc edits the prompt.", times=2)
    assert "/continue\n" not in stage.transcript
    # What the model is told to go on was written by nobody.
    assert stage.pane.prompt.draft == ""
    assert CONTINUE_PROMPT not in stage.transcript
    await stage.ask("/continue")
    await stage.say("the other half")


@pytest.mark.promise("H9")
async def test_a_prompt_that_is_sent_again_is_shown_again(stage: Stage) -> None:
    await stage.ask("what I asked")
    await stage.press("escape")
    await stage.until_said("Your prompt is back below.")
    stage.pane.prompt.clear_undoable()
    await stage.ask("/continue")
    assert "what I asked" in stage.transcript


@pytest.mark.promise("P6")
async def test_an_error_keeps_what_had_arrived_and_the_session_goes_on(stage: Stage) -> None:
    await stage.ask("hello")
    await stage.say("half of it")
    stage.model.give(ModelError(FailureKind.BROKEN_STREAM, "The reply broke off: try again."))
    await stage.until_said("The reply broke off: try again. What had arrived is kept")
    assert "half of it\n┄ broken off" in stage.transcript
    await stage.ask("next")
    stage.model.say("works")
    stage.model.finish()
    await stage.until_said("works")


async def test_an_error_before_the_reply_leaves_the_prompt_where_it_is_and_gives_it_back(
    stage: Stage,
) -> None:
    await stage.ask("hello")
    stage.model.give(ModelError(FailureKind.WRONG_KEY, "The key is wrong: set another."))
    await stage.until_said("The key is wrong: set another. Your prompt is back below.")
    assert "hello" in stage.transcript
    assert stage.pane.prompt.draft == "hello"


@pytest.mark.promise("H2", "H9")
async def test_a_continue_of_which_something_is_kept_stays_in_the_transcript(stage: Stage) -> None:
    await stage.ask("hello")
    await stage.say("half of it")
    await stage.press("escape")
    await stage.until_said("/continue goes on, Esc Esc edits the prompt.")
    await stage.ask("/continue")
    await stage.say("more of it")
    await stage.press("escape")
    await stage.until_said("/continue goes on, Esc Esc edits the prompt.", times=2)
    assert_in_order(stage, "half of it", "/continue\n", "more of it\n┄ interrupted")


@pytest.mark.promise("H2", "E6")
async def test_a_notice_during_a_stall_is_shown_at_once_and_the_reply_is_still_marked(stage: Stage) -> None:
    await stage.ask("hello")
    stage.model.say("```\nx = 1\n")
    await stage.until_said("x = 1")
    await stage.send("/mcp")
    await stage.until_said("There are no tools")
    stage.model.say("# no title\n")
    await stage.until_said("# no title")
    await stage.press("escape")
    await stage.until_said("Stopped by Esc")
    assert_in_order(stage, "There are no tools", "x = 1\n# no title\n┄ interrupted", "Stopped by Esc")


class Talk:
    """A session with tools, its model played by hand, and the transcript that a pump feeds from it."""

    def __init__(self, transcript: Transcript, pilot: Pilot[None], equipment: SessionDependencies) -> None:
        self.transcript = transcript
        self.model = HandPlayedModel()
        self.registry = Registry()
        self.session = Session(self.model, self.registry, ModelChoice(MODEL), equipment)
        self.live = LiveView(transcript, lambda _: False)
        self.events: list[Event] = []
        self._pilot = pilot
        self.session.subscribe(self.events.append)
        self.session.subscribe(self.live.on_event)

    @property
    def said(self) -> str:
        text, _ = self.transcript.get_selection(SELECT_ALL) or ("", "")
        return text

    @property
    def rows(self) -> list[str]:
        return [row for row in self.said.split("\n") if row]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(GENEROUS_S):
            while not condition():
                await self._pilot.pause()

    async def until_said(self, words: str) -> None:
        await self.until(lambda: words in self.said)

    async def ask(self, prompt: str) -> None:
        self.session.submit(prompt)
        await self.model.asked()

    def call(self, *calls: tuple[str, str, str]) -> None:
        """End the reply with these calls: id, tool, and what it does."""
        for index, (call_id, tool, do) in enumerate(calls):
            arguments = json.dumps({"do": do, "say": call_id})
            self.model.give(ToolCallDelta(index, arguments, call_id, tool))
        self.model.give(Finished(FinishReason.TOOL_CALLS, None, MODEL))


@asynccontextmanager
async def talking(*tools: PlayedTool, limits: Limits | None = None) -> AsyncIterator[Talk]:
    app = PumpApp()
    async with app.run_test(size=(100, 40)) as pilot:
        talk = Talk(app.query_one(CountingTranscript), pilot, equipped(*tools, limits=limits, agents=True))
        yield talk
        await talk.session.aclose(CancelReason(Cause.QUIT, "end of the program"))
        await talk.live.aclose()


@pytest.mark.promise("S5", "H5", "E6", "U8")
async def test_of_three_calls_the_middle_one_is_stopped_and_the_turn_goes_on() -> None:
    async with talking(tool := PlayedTool("read")) as talk:
        await talk.ask("hello")
        talk.model.say("Let me look.")
        talk.call(("one", "read", "hold"), ("two", "read", "hold"), ("three", "read", "return"))
        await talk.until(lambda: "✓ read  return three" in talk.said and "● read  hold two" in talk.said)
        talk.session.operations.cancel("two", CancelReason(Cause.USER, "click"))
        await talk.until_said("■ read  hold two  stopped by click after ")
        assert "● read  hold one  running" in talk.rows
        talk.session.operations.cancel("one", CancelReason(Cause.USER, "/stop"))
        await talk.model.asked()
        talk.model.say("That is how it is.")
        talk.model.finish()
        await talk.until_said("That is how it is.")
        starts = ["hello", "Let me look.", "■ read  hold one", "■ read  hold two", "✓ read  return three"]
        assert [row[: len(start)] for row, start in zip(talk.rows, starts, strict=False)] == starts
        assert talk.rows[-1] == "That is how it is."
        assert tool.running == []


@pytest.mark.promise("E10")
async def test_a_backlog_stands_before_the_call_that_followed_it() -> None:
    async with talking(PlayedTool("read")) as talk:
        await talk.ask("hello")
        talk.model.think("hm")
        talk.model.say(*PIECES)
        talk.call(("one", "read", "return"))
        await talk.model.asked()
        talk.model.say("after")
        talk.model.finish()
        await talk.until_said("after")
        rows = talk.rows
        assert rows[:2] == ["hello", "Thought (1 word) ▸"]
        assert "".join(rows[2:-2]).replace("piece", " piece").split() == "".join(PIECES).split()
        assert rows[-2].startswith("✓ read  return one")


@pytest.mark.promise("E10", "E6", "H5")
async def test_a_stop_during_calls_shows_what_became_of_each_and_the_backlog_before_them() -> None:
    tool = PlayedTool("write", changing=True)
    async with talking(tool) as talk:
        await talk.ask("hello")
        talk.model.say(*PIECES)
        talk.call(("one", "write", "hold"), ("two", "write", "hold"))
        await talk.until(lambda: tool.running)
        talk.session.stop(CancelReason(Cause.USER, "escape"))
        await talk.until_said("/continue goes on, Esc Esc edits the prompt.")
        rows = talk.rows
        assert rows[-4] == LAST
        assert rows[-3].startswith("■ write  hold one  stopped by Esc after ")
        assert rows[-2].startswith("○ write  not started") or rows[-2].startswith("○ write  hold two  not")
        assert rows[-1].startswith("Stopped by Esc after ")
        assert ": nothing of it is running any more. /continue" in rows[-1]
        assert "interrupted" not in talk.said


@pytest.mark.promise("E4", "H5")
async def test_a_call_that_is_asked_about_says_so_and_a_denial_is_no_stop() -> None:
    async with talking(AskingTool("shell")) as talk:
        await talk.ask("hello")
        talk.call(("one", "shell", "return"), ("two", "shell", "return"))
        await talk.until_said("? shell  return one  waits for your answer")
        (question,) = [event.question for event in talk.events if isinstance(event, QuestionAsked)]
        talk.session.questions.answer(question.ask_id, Answer(AnswerKind.DENY, "not now"))
        await talk.until_said("? shell  return two  waits for your answer")
        assert "⊘ shell  return one  denied ▸" in talk.rows
        talk.session.stop(CancelReason(Cause.USER, "escape"))
        await talk.until_said("Stopped by Esc")
        assert "○ shell  return two  not started ▸" in talk.rows
        talk.transcript.toggle_cards()
        assert "not now" in talk.said


async def test_a_call_of_a_tool_that_there_is_not_fails_and_the_model_is_told() -> None:
    async with talking() as talk:
        await talk.ask("hello")
        talk.call(("one", "fly\x1b[31m", "return"))
        await talk.model.asked()
        talk.model.finish()
        await talk.until_said("✗ fly  failed: There is no tool")
        assert "\x1b" not in talk.said


@pytest.mark.promise("X5")
async def test_the_calls_of_a_sub_agent_stand_in_its_card() -> None:
    async with talking(PlayedTool("read")) as talk:
        await talk.ask("hello")
        prompt = json.dumps({"task": "find it"})
        talk.model.give(ToolCallDelta(0, prompt, "agent-1", "agent"))
        talk.model.give(Finished(FinishReason.TOOL_CALLS, None, MODEL))
        await talk.model.asked()
        talk.call(("one", "read", "return"), ("two", "read", "hold"))
        await talk.until_said("2 calls, running")
        assert [row for row in talk.rows if "read" in row] == []
        talk.transcript.toggle_cards()
        await talk.until_said("✓ read  return one")
        talk.session.stop(CancelReason(Cause.USER, "escape"))
        await talk.until_said("■ read  hold two  stopped by Esc")
        rows = talk.rows
        assert rows[1].startswith("■ agent")
        assert rows[2].startswith("✓ read  return one")


@pytest.mark.promise("U9")
async def test_a_turn_that_has_taken_all_its_steps_says_how_to_go_on() -> None:
    async with talking(PlayedTool("read"), limits=Limits(steps=1)) as talk:
        await talk.ask("hello")
        talk.call(("one", "read", "return"))
        await talk.until_said("/continue goes on")
        assert talk.rows[-1].startswith("The turn has taken 1 step")


NOTHING = Shown("")


def ending(call_id: str, status: ResultStatus = ResultStatus.COMPLETED) -> CallEnded:
    return CallEnded(1, call_id, "shell", "sleep 1", status, NOTHING, "{}", 1.0)


@pytest.mark.promise("U8", "H5")
async def test_no_card_is_left_open_and_none_changes_after_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async with talking() as talk:
        show = talk.live.on_event
        show(TurnStarted(1, "hello", 0.0))
        for call_id in ("ended", "running", "queued"):
            show(CallNamed(1, call_id, "shell"))
            if call_id != "queued":
                show(CallStarted(1, call_id, "sleep 1"))
        show(ending("ended", ResultStatus.STOPPED))
        show(ending("ended"))
        show(TurnEnded(1, Outcome.COMPLETED, ""))
        show(ending("running"))
        show(CallStarted(1, "queued", "sleep 1"))
        show(CallNamed(1, "late", "shell"))
        await talk.live.aclose()
        assert talk.rows == [
            "hello",
            "■ shell  sleep 1  stopped ▸",
            "! shell  sleep 1  its end was never reported",
            "○ shell  not started",
        ]
        assert "the call running of shell has no end" in caplog.text
        assert "the call ended of shell" not in caplog.text
        before = talk.said
        show(ending("queued"))
        await talk.until(lambda: not talk.transcript.feed.waiting)
        assert talk.said == before


async def test_a_background_command_that_ends_within_a_reply_leaves_it_whole() -> None:
    async with talking() as talk:
        await talk.ask("hello")
        talk.model.say("```\nx = 1\n")
        await talk.until_said("x = 1")
        talk.live.on_event(BackgroundEnded("b", "npm start", 0, Shown("listening")))
        talk.live.on_event(Notice("The rule could not be kept."))
        talk.model.say("# no title\n")
        talk.model.finish()
        await talk.until_said("# no title")
        card = "✓ background  npm start  ended, exit code 0 ▸"
        assert talk.rows == ["hello", card, "The rule could not be kept.", "x = 1", "# no title"]


@pytest.fixture
async def never_due(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[LiveView, CountingTranscript]]:
    """A view whose next slow frame never comes, and which has just shown its first words."""
    monkeypatch.setattr("tui.transcript.live.FRAME_S", 0.0)
    monkeypatch.setattr("tui.transcript.live.SLOW_FRAME_S", GENEROUS_S * 10)
    app = PumpApp()
    async with app.run_test() as pilot:
        transcript = app.query_one(CountingTranscript)
        live = LiveView(transcript, lambda _: False)
        live.on_event(TurnStarted(1, "hello", 0.0))
        live.on_event(TextArrived(1, "first"))
        await until_said(transcript, "first")
        live._pause = 0.0
        live.on_event(TextArrived(1, " second"))
        await pilot.pause()
        assert "second" not in said(transcript)
        yield live, transcript
        await live.aclose()


async def until_said(transcript: Transcript, words: str) -> None:
    async with asyncio.timeout(GENEROUS_S):
        while words not in said(transcript):  # noqa: ASYNC110 - the frame has no event
            await asyncio.sleep(0)


def said(transcript: Transcript) -> str:
    text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
    return text


@pytest.mark.promise("E6", "E10")
async def test_a_stop_waits_for_no_slow_frame(never_due: tuple[LiveView, CountingTranscript]) -> None:
    live, transcript = never_due
    live.on_event(TurnEnded(1, Outcome.CANCELLED, text="first second"))
    await live.aclose()
    assert "first second" in said(transcript)
    assert "interrupted" in said(transcript)


@pytest.mark.promise("E10")
async def test_others_get_their_turn_between_the_slices_of_a_backlog_at_the_end(
    never_due: tuple[LiveView, CountingTranscript], monkeypatch: pytest.MonkeyPatch
) -> None:
    live, transcript = never_due
    turn = 0
    read_in: list[int] = []
    read = Feed.read

    def watch(feed: Feed, limit: int = SLICE) -> bool:
        if feed.waiting:
            read_in.append(turn)
        return read(feed, limit)

    monkeypatch.setattr(Feed, "read", watch)
    live.on_event(TextArrived(1, " more" * SLICE))
    live.on_event(TurnEnded(1, Outcome.COMPLETED, text=""))
    while live._finishing is not None:
        turn += 1
        await asyncio.sleep(0)
    assert len(read_in) > 5
    assert len(set(read_in)) == len(read_in)
    assert said(transcript).count("more") == SLICE


async def test_a_card_and_much_text_wait_for_no_slow_frame(
    never_due: tuple[LiveView, CountingTranscript],
) -> None:
    live, transcript = never_due
    live.on_event(CallNamed(1, "one", "shell"))
    await until_said(transcript, "shell")
    live.on_event(TextArrived(1, "third "))
    live.on_event(TextArrived(1, "much " * SLOW))
    await until_said(transcript, "third")
