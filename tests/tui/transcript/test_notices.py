"""What is said about the end of a turn, for each way in which a real session can end one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from core.cancel import CancelReason, Cause
from core.engine import step
from core.engine.turn import NO_LIMITS, Limits
from core.model.provider import Closing, FailureKind, ModelChoice, ModelError
from core.operations.events import Event, Outcome, StopReport, TurnEnded
from core.operations.registry import Registry
from core.operations.supervise import Graces
from core.session.session import Session
from tests.support.scripted_tools import equipped
from tests.support.waiting import GENEROUS_S
from tests.tui.stage import MODEL, Deaf, HandPlayedModel, Manner, Obedient, Stubborn
from tui.base.format import format_duration
from tui.transcript.notices import failure_notice, limit_notice, past_stop_notice, stop_notice

ESCAPE = CancelReason(Cause.USER, "escape")
NEXT = "/continue goes on, Esc Esc edits the prompt."


@dataclass(frozen=True, slots=True)
class Stop:
    """How a turn is stopped, and what is said then."""

    manner: Manner
    notice: str
    said: str = "half of it"
    cause: Cause = Cause.USER
    source: str = "escape"
    forced: bool = False


STOPS = {
    "closed": Stop(Obedient(), f"Stopped by Esc after 1.2 ms: connection closed. {NEXT}"),
    "killed": Stop(
        Stubborn(),
        "Stopped by Esc after 1.2 ms: the model process did not answer and was killed, "
        f"its connection with it. {NEXT}",
        forced=True,
    ),
    "finished": Stop(
        Obedient(Closing.FINISHED),
        f"Stopped by Esc after 1.2 ms: the reply had just ended by itself. {NEXT}",
    ),
    "never opened": Stop(
        Obedient(Closing.NEVER_OPENED),
        "Stopped by Ctrl+C after 1.2 ms: nothing had been sent. Your prompt is back below.",
        said="",
        source="ctrl+c",
    ),
    "unconfirmed": Stop(
        Deaf(),
        f"Stopped by Esc: asked to stop, not confirmed: openai/demo. {NEXT}",
        forced=True,
    ),
    "timeout": Stop(
        Obedient(),
        "Time is up: stopped by the deadline of 30 s after 1.2 ms: connection closed. "
        "/continue goes on (the time begins anew), Esc Esc edits the prompt.",
        cause=Cause.DEADLINE,
        source="the deadline of 30 s",
    ),
    "signal": Stop(
        Obedient(),
        "Stopped by SIGINT after 1.2 ms: connection closed. Your prompt is back below.",
        said="",
        cause=Cause.SIGNAL,
        source="SIGINT",
    ),
}


class Listened:
    """A session with a model played by hand, and the ends of its turns."""

    def __init__(self, manner: Manner, limits: Limits = NO_LIMITS) -> None:
        self.model = HandPlayedModel()
        self.model.manner = manner
        self.session = Session(self.model, Registry(), ModelChoice(MODEL), equipped(limits=limits))
        self.events: list[Event] = []
        self.session.subscribe(self.events.append)

    async def begin(self, said: str) -> None:
        """A turn that has come so far that `said` has arrived."""
        self.session.submit("hello")
        await self.model.asked()
        if said:
            heard = len(self.events)
            self.model.say(said)
            async with asyncio.timeout(GENEROUS_S):
                while len(self.events) == heard:  # noqa: ASYNC110 - there is nothing to wait for but the loop
                    await asyncio.sleep(0)

    async def end(self) -> TurnEnded:
        async with asyncio.timeout(GENEROUS_S):
            await self.session.wait_idle()
        ended = self.events[-1]
        assert isinstance(ended, TurnEnded)
        return ended


@pytest.mark.promise("E6", "U10")
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
async def test_a_stop_is_told_with_its_proof(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "GRACES", Graces(3.0, 0.05))
    listened = Listened(stop.manner)
    await listened.begin(stop.said)
    assert listened.session.stop(CancelReason(stop.cause, stop.source))
    if stop.forced:
        assert listened.session.force()
    ended = await listened.end()
    assert stop_notice(ended, returned=ended.returned_prompt is not None) == stop.notice
    if isinstance(stop.manner, Deaf):
        stop.manner.released.set()
    await listened.session.aclose(ESCAPE)


@pytest.mark.promise("U1", "E6")
async def test_a_stop_before_any_request_says_that_nothing_was_sent() -> None:
    listened = Listened(Obedient())
    listened.session.submit("hello")
    assert listened.session.stop(ESCAPE)
    ended = await listened.end()
    assert listened.model.requests == []
    told = stop_notice(ended, returned=False)
    assert told.startswith("Stopped by Esc after ")
    assert told.endswith(": nothing had been sent. Up brings the prompt back, /continue sends it again.")


ESC = "Stopped by Esc"
PROOFS = {
    "stream": (
        StopReport("escape", 0.0021, Closing.CLOSED),
        f"{ESC} after 2.1 ms: connection closed. {NEXT}",
    ),
    "stream and processes": (
        StopReport("escape", 0.02, Closing.CLOSED, processes=4),
        f"{ESC} after 20 ms: connection closed, 4 processes ended, 0 alive. {NEXT}",
    ),
    "processes": (
        StopReport("escape", 0.02, None, processes=1),
        f"{ESC} after 20 ms: 1 process ended, 0 alive. {NEXT}",
    ),
    "nothing to prove": (
        StopReport("escape", 0.02, None),
        f"{ESC} after 20 ms: nothing of it is running any more. {NEXT}",
    ),
    "one refused": (
        StopReport("escape", None, Closing.NEVER_OPENED, processes=3, alive=((4711, "sl\neep\x1b[31m"),)),
        f"{ESC}: 3 processes ended, 1 alive. sl ↵ eep (pid 4711) refused to end: /kill kills it. {NEXT}",
    ),
    "many refused": (
        StopReport("escape", None, None, alive=tuple((pid, "yes") for pid in range(7))),
        f"{ESC}: 0 processes ended, 7 alive. yes (pid 0), yes (pid 1), yes (pid 2), yes (pid 3), yes (pid 4) "
        f"and 2 more refused to end: /kill kills them. {NEXT}",
    ),
    "unconfirmed": (
        StopReport("escape", None, Closing.CLOSED, ("github.search", "docs.fetch"), 2),
        f"{ESC}: connection closed, 2 processes ended, 0 alive; asked to stop, not confirmed: github.search, "
        f"docs.fetch. {NEXT}",
    ),
}


@pytest.mark.promise("E6", "U10")
@pytest.mark.parametrize(("proof", "said"), PROOFS.values(), ids=PROOFS)
def test_the_proof_covers_all_that_was_alive(proof: StopReport, said: str) -> None:
    ended = TurnEnded(1, Outcome.CANCELLED, "some text", proof=proof)
    assert stop_notice(ended, returned=False) == said


@pytest.mark.promise("E6")
@pytest.mark.parametrize(
    ("changed", "undo"),
    [
        ((), ""),
        (("src/a\nb.py",), ", /undo puts src/a ↵ b.py back"),
        (("a.py", "b.py", "c.py"), ", /undo puts 3 files back"),
    ],
)
def test_a_stop_offers_to_put_back_what_was_changed(changed: tuple[str, ...], undo: str) -> None:
    proof = StopReport("escape", 0.0021, Closing.CLOSED)
    ended = TurnEnded(1, Outcome.CANCELLED, "some text", proof=proof, changed=changed)
    told = f"{ESC} after 2.1 ms: connection closed. {NEXT[:-1]}{undo}."
    assert stop_notice(ended, returned=False) == told


def test_who_refused_to_end_is_nobodys_business_when_the_session_is_opened_again() -> None:
    proof = StopReport("escape", None, None, processes=1, alive=((4711, "sleep"),))
    ended = TurnEnded(1, Outcome.CANCELLED, "some text", proof=proof)
    assert past_stop_notice(ended) == f"{ESC}: 1 process ended, 1 alive. {NEXT}"
    rolled_back = replace(ended, returned_prompt="hello", proof=StopReport("escape", 0.0021, Closing.CLOSED))
    told = f"{ESC} after 2.1 ms: connection closed. Nothing of the turn was kept."
    assert past_stop_notice(rolled_back) == told


@pytest.mark.promise("U9")
@pytest.mark.parametrize(
    ("outcome", "error", "said"),
    [
        (Outcome.MAX_TURNS_REACHED, "That were 8 steps. /continue does more.", ""),
        (Outcome.MAX_TURNS_REACHED, None, f"The turn has taken as many steps as it may. {NEXT}"),
        (Outcome.MAX_BUDGET_REACHED, None, f"The turn has used up its budget. {NEXT}"),
        (
            Outcome.TIMEOUT,
            None,
            "Time is up. /continue goes on (the time begins anew), Esc Esc edits the prompt.",
        ),
    ],
)
def test_a_limit_is_told_with_what_to_do_next(outcome: Outcome, error: str | None, said: str) -> None:
    ended = TurnEnded(1, outcome, "some text", error)
    assert limit_notice(ended, returned=False) == (error or said)


@pytest.mark.promise("U9", "H1")
async def test_a_turn_without_any_time_says_that_nothing_was_sent() -> None:
    listened = Listened(Obedient(), Limits(seconds=0))
    listened.session.submit("hello")
    ended = await listened.end()
    assert listened.model.requests == []
    told = stop_notice(ended, returned=True)
    assert told.startswith("Time is up: stopped by the deadline of 0 s after ")
    assert told.endswith(": nothing had been sent. Your prompt is back below.")


@pytest.mark.parametrize(
    ("said", "returned", "after"),
    [
        ("", True, " Your prompt is back below."),
        ("", False, " Up brings the prompt back, /continue sends it again."),
        ("half of it", False, " What had arrived is kept; /continue goes on from there."),
    ],
)
@pytest.mark.promise("H1", "H2")
async def test_a_failure_is_told_with_what_became_of_the_prompt(
    said: str, returned: bool, after: str
) -> None:
    listened = Listened(Obedient())
    await listened.begin(said)
    listened.model.give(ModelError(FailureKind.WRONG_KEY, "The key is wrong: set another.", detail="secret"))
    ended = await listened.end()
    assert failure_notice(ended, returned=returned) == f"The key is wrong: set another.{after}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 ms"),
        (0.0042, "4.2 ms"),
        (0.00996, "10 ms"),
        (0.0123, "12 ms"),
        (0.26, "260 ms"),
        (0.9999, "1.0 s"),
        (3.25, "3.2 s"),
        (59.96, "1 min 00 s"),
        (3_599.7, "1 h 00 min"),
    ],
)
def test_a_duration(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
