"""The pump between a real session and a real transcript: what is shown, when, and in which order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from textual.app import App, ComposeResult

from core.cancel import CancelReason, Cause
from core.events import Event, ReasoningArrived, TextArrived, TurnEnded, TurnStarted
from core.model import FailureKind, ModelError, TextDelta, ToolCallDelta
from core.session import CONTINUE_PROMPT
from tests.tui.scripted import BOUND_S, Deaf, Stage, staged
from tui.interrupt import InterruptKey
from tui.pump import Pump
from tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        pump = Pump(transcript, lambda _: False)
        pump.on_event(TurnStarted(1, "hello", 0.0))
        for number in range(300):
            pump.on_event(ReasoningArrived(1, f"thought {number} "))
            pump.on_event(TextArrived(1, f"word {number} "))
        assert transcript.shown == 0
        async with asyncio.timeout(BOUND_S):
            while not transcript.shown:
                await pilot.pause()
        assert transcript.shown == 1
        await pump.aclose()


@pytest.mark.promise("E10")
@pytest.mark.parametrize("pieces", [("one line",), PIECES], ids=["short", "backlog"])
async def test_at_a_normal_end_every_character_is_on_the_screen(pieces: Sequence[str]) -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say(*pieces)
        stage.model.finish()
        await stage.until(lambda: pieces[-1].strip() in "\n".join(stage.rows))
        assert _joined(stage) == " ".join(("hello " + "".join(pieces)).split())
        assert "interrupted" not in stage.transcript


@pytest.mark.promise("E10", "P3", "H2")
async def test_after_a_stop_nothing_streams_on() -> None:
    async with staged() as stage:
        stage.model.manner = deaf = Deaf()
        await stage.ask("hello")
        stage.model.say(*PIECES)
        emit = stage.model.emits[0]
        # All of it has been received, and hardly any of it drawn.
        await stage.until(lambda: stage.session.history == () and "piece 0" in stage.transcript)
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
        kept = stage.session.history[-1].messages[-1].text
        assert " ".join(kept.split()) in _joined(stage)


def _joined(stage: Stage) -> str:
    return " ".join(stage.transcript.split())


@pytest.mark.promise("E10", "U3")
async def test_the_next_turn_waits_for_the_end_of_a_backlog() -> None:
    async with staged() as stage:
        await stage.ask("first prompt")
        await stage.send("second prompt")
        stage.model.say(*PIECES)
        stage.model.finish()
        stage.model.say("the second reply")
        stage.model.finish()
        await stage.until_said("the second reply")
        assert_in_order(stage, "first prompt", "piece 0", LAST, "second prompt", "the second reply")


@pytest.mark.promise("E10", "U8")
async def test_the_notice_of_a_turn_stands_before_a_turn_that_begins_at_its_end() -> None:
    async with staged() as stage:

        def go_on(event: Event) -> None:
            if isinstance(event, TurnEnded) and event.turn_id == 1:
                stage.session.submit("second prompt")

        stage.session.subscribe(go_on)
        await stage.ask("first prompt")
        stage.model.say(*PIECES)
        await stage.until(lambda: "piece 0" in stage.transcript)
        stage.session.stop(CancelReason(Cause.USER, "escape"))
        stage.model.say("the second reply")
        await stage.until_said("the second reply")
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
async def test_a_prompt_that_was_rolled_back_returns_to_the_empty_composer() -> None:
    async with staged() as stage:
        await stage.ask("what I asked")
        await stage.press("escape")
        await stage.until_said("Your prompt is back below.")
        assert stage.pane.prompt.draft == "what I asked"
        assert "what I asked" not in stage.transcript
        assert stage.session.history == ()


@pytest.mark.promise("H1", "E1")
async def test_a_prompt_that_was_rolled_back_never_takes_the_place_of_a_draft() -> None:
    async with staged() as stage:
        await stage.ask("what I asked")
        await stage.press(*"draft", "escape")
        await stage.until_said("Up brings the prompt back, /continue sends it again.")
        assert stage.pane.prompt.draft == "draft"
        assert "what I asked" not in stage.transcript
        await stage.press("up")
        assert stage.pane.prompt.draft == "what I asked"


@pytest.mark.promise("H1", "H9")
async def test_a_continue_that_was_rolled_back_is_offered_again() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say("half of it")
        await stage.until_said("half of it")
        await stage.press("escape")
        await stage.until_said("/continue goes on.")
        await stage.ask("/continue")
        await stage.press("escape")
        await stage.until_said("/continue goes on.", times=2)
        assert "/continue\n" not in stage.transcript
        # What the model is told to go on was written by nobody.
        assert stage.pane.prompt.draft == ""
        assert CONTINUE_PROMPT not in stage.transcript
        await stage.ask("/continue")
        stage.model.say("the other half")
        await stage.until_said("the other half")


@pytest.mark.promise("H9")
async def test_a_prompt_that_is_sent_again_is_shown_again() -> None:
    async with staged() as stage:
        await stage.ask("what I asked")
        await stage.press("escape")
        await stage.until_said("Your prompt is back below.")
        stage.pane.prompt.clear_undoable()
        await stage.ask("/continue")
        assert "what I asked" in stage.transcript


@pytest.mark.promise("P6")
async def test_an_error_keeps_what_had_arrived_and_the_session_goes_on() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say("half of it")
        await stage.until_said("half of it")
        stage.model.give(ModelError(FailureKind.BROKEN_STREAM, "The reply broke off: try again."))
        await stage.until_said("The reply broke off: try again. What had arrived is kept")
        assert "half of it\n┄ interrupted" in stage.transcript
        await stage.ask("next")
        stage.model.say("works")
        stage.model.finish()
        await stage.until_said("works")


async def test_an_error_before_the_reply_leaves_the_prompt_where_it_is_and_gives_it_back() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.give(ModelError(FailureKind.WRONG_KEY, "The key is wrong: set another."))
        await stage.until_said("The key is wrong: set another. Your prompt is back below.")
        assert "hello" in stage.transcript
        assert stage.pane.prompt.draft == "hello"


@pytest.mark.promise("H2", "H9")
async def test_a_continue_of_which_something_is_kept_stays_in_the_transcript() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say("half of it")
        await stage.until_said("half of it")
        await stage.press("escape")
        await stage.until_said("/continue goes on.")
        await stage.ask("/continue")
        stage.model.say("more of it")
        await stage.until_said("more of it")
        await stage.press("escape")
        await stage.until_said("/continue goes on.", times=2)
        assert_in_order(stage, "half of it", "/continue\n", "more of it\n┄ interrupted")


@pytest.mark.promise("H2", "E6")
async def test_help_during_a_stall_is_shown_at_once_and_the_reply_is_still_marked() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say("```\nx = 1\n")
        await stage.until_said("x = 1")
        await stage.send("/help")
        await stage.until_said("Esc stops the reply")
        stage.model.say("# no title\n")
        await stage.until_said("# no title")
        await stage.press("escape")
        await stage.until_said("Stopped by Esc")
        assert_in_order(stage, "Esc stops the reply", "x = 1\n# no title\n┄ interrupted", "Stopped by Esc")


async def test_a_call_of_a_tool_that_there_is_not_is_told_below_the_reply() -> None:
    async with staged() as stage:
        await stage.ask("hello")
        stage.model.say("Let me look")
        stage.model.give(ToolCallDelta(0, "{}", "call-1", "read_file"))
        stage.model.finish()
        await stage.until_said("The model asked for the tool read_file, but there are no tools yet.")
        assert_in_order(stage, "Let me look", "The model asked")
        await stage.ask("next")
        stage.model.say("works")
        stage.model.finish()
        await stage.until(lambda: len(stage.session.history) == 2 and "works" in stage.transcript)
        assert stage.transcript.count("The model asked") == 1
