"""The card of a call: the text of its row in each state, and its details when unfolded.

A card does not know the screen. Only events of its call change it, and none after the last one: an ended card
does not change (U8). No meaning is expressed by color alone: each state has a mark and words.
"""

from __future__ import annotations

import pickle
import re
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from core.model.messages import ResultStatus
from core.operations.events import ShownKind
from tui.base.format import format_duration
from tui.base.printable import one_line
from tui.transcript.card_details import INDENT, argument_blocks, result_blocks
from tui.transcript.markdown.blocks import PLAIN, CardRow, Prefix, Prose
from tui.transcript.markdown.spans import Look, Part
from tui.transcript.notices import refusal, stop_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.operations.events import BackgroundEnded, CallEnded, Shown, StopReport
    from tui.transcript.markdown.blocks import Block

NAME_CHARACTERS = 40
CALLS_LISTED = 40
"""How many calls of a sub-agent are listed; the latest ones."""
_WORDS = 100


class CardState(StrEnum):
    """What is known of a call. The values are the displayed words; those of an end are a `ResultStatus`'s."""

    QUEUED = "queued"
    RUNNING = "running"
    ASKING = "waits for your answer"
    COMPLETED = "completed"
    FAILED = "failed"
    DENIED = "denied"
    STOPPED = "stopped"
    NOT_STARTED = "not started"
    UNCONFIRMED = "its end was never reported"

    @property
    def is_open(self) -> bool:
        return self in (CardState.QUEUED, CardState.RUNNING, CardState.ASKING)


_LOOKS = {
    CardState.QUEUED: ("◌", Part.INFO),
    CardState.RUNNING: ("●", Part.RUNNING),
    CardState.ASKING: ("?", Part.DENIED),
    CardState.COMPLETED: ("✓", Part.COMPLETED),
    CardState.FAILED: ("✗", Part.ERROR),
    CardState.DENIED: ("⊘", Part.DENIED),
    CardState.STOPPED: ("■", Part.STOPPED),
    CardState.NOT_STARTED: ("○", Part.INFO),
    CardState.UNCONFIRMED: ("!", Part.ERROR),
}
_EXIT = re.compile(r"exit code (?P<code>-?\d+)|ended by signal (?P<signal>\d+)", re.IGNORECASE)
_READ = 4_000
_ALARM = Look(Part.ERROR)


class Card:
    """One call or background command; `parent` is the card of the sub-agent that made the call."""

    def __init__(self, name: str, parent: Card | None = None) -> None:
        self.name = one_line(name, NAME_CHARACTERS) or "(no name)"
        self.title = ""
        self.state = CardState.QUEUED
        self._calls: list[Card] = []
        self._ending = ""
        self._alarm = ""
        self._details = b""
        """Packed, because there may be thousands of cards and few are ever unfolded."""
        if parent is not None:
            parent._calls.append(self)

    def start(self, title: str) -> None:
        if self.state.is_open:
            self.title = one_line(title)
            self.state = CardState.RUNNING

    def ask(self, *, asking: bool) -> None:
        """Show whether the call is waiting for an answer of the user."""
        if self.state.is_open:
            self.state = CardState.ASKING if asking else CardState.RUNNING

    def end(self, ended: CallEnded) -> None:
        """Show the end of the call; later events change nothing."""
        if not self.state.is_open:
            return
        self.state = CardState(ended.status.value)
        self.title = one_line(ended.title) or self.title
        self._ending = _ending(ended)
        self._alarm = _alarm(ended.proof)
        asked, told = argument_blocks(ended.arguments), result_blocks(ended.shown)
        # A diff says most of what was asked for, so it comes first.
        self._details = pickle.dumps(told + asked if ended.shown.kind is ShownKind.DIFF else asked + told)

    def end_background(self, ended: BackgroundEnded) -> None:
        """Show the end of the background command of this card."""
        if not self.state.is_open:
            return
        self.title = one_line(ended.title)
        self.state, self._ending = _background_end(ended)
        self._alarm = _alarm(ended.proof)
        self._details = pickle.dumps(result_blocks(ended.shown))

    def give_up(self) -> None:
        """Mark the call as one whose end was not reported and will not be."""
        if self.state.is_open:
            never_ran = self.state is CardState.QUEUED
            self.state = CardState.NOT_STARTED if never_ran else CardState.UNCONFIRMED

    @property
    def unfolds(self) -> bool:
        return bool(self._details or self._calls)

    def blocks(self, *, folded: bool) -> list[Block]:
        """The row of the card, then its details."""
        arrow = ("▸" if folded else "▾") if self.unfolds else ""
        blocks: list[Block] = [self._row(arrow=arrow)]
        blocks += self._alarms()
        if not folded:
            blocks += self._listed_calls()
            if self._details:
                blocks += pickle.loads(self._details)
        return blocks

    def _row(self, *, arrow: str = "", depth: int = 0) -> CardRow:
        mark, part = _LOOKS[self.state]
        margin = (("  " * depth, PLAIN),) if depth else ()
        return CardRow(mark, self.name, self.title, self._words(), part, arrow, prefix=Prefix(margin, margin))

    def _alarms(self) -> list[Block]:
        return [Prose(self._alarm, INDENT, _ALARM, markdown=False)] if self._alarm else []

    def _words(self) -> str:
        words = self._ending or self.state.value
        if not self._calls:
            return words
        count = sum(1 for _ in self._descendants())
        return f"{count:,} call{'' if count == 1 else 's'}, {words}"

    def _descendants(self, depth: int = 1) -> Iterator[tuple[Card, int]]:
        for call in self._calls:
            yield call, depth
            yield from call._descendants(depth + 1)

    def _listed_calls(self) -> list[Block]:
        calls = list(self._descendants())
        more = len(calls) - CALLS_LISTED
        blocks: list[Block] = []
        if more > 0:
            words = f"… {more:,} earlier call{'' if more == 1 else 's'}"
            blocks.append(Prose(words, INDENT, Look(Part.INFO, italic=True), markdown=False))
        for call, depth in calls[max(0, more) :]:
            blocks.append(call._row(depth=depth))
            blocks += call._alarms()
        return blocks


def _ending(ended: CallEnded) -> str:
    """How a call ended, if there is more to say than its state."""
    took = "" if ended.seconds is None else format_duration(ended.seconds)
    match ended.status:
        case ResultStatus.COMPLETED:
            return took
        case ResultStatus.FAILED:
            return ", ".join(filter(None, (_failure(ended.shown), took)))
        case ResultStatus.STOPPED:
            return "" if ended.proof is None else stop_words(ended.proof)
        case ResultStatus.DENIED | ResultStatus.NOT_STARTED:
            return ""
        case _:
            assert_never(ended.status)


def _background_end(ended: BackgroundEnded) -> tuple[CardState, str]:
    if ended.proof is not None:
        return CardState.STOPPED, stop_words(ended.proof)
    if ended.exit_code is None:
        return CardState.UNCONFIRMED, "ended, its exit code is unknown"
    state = CardState.COMPLETED if ended.exit_code == 0 else CardState.FAILED
    return state, f"ended, {_exit_words(ended.exit_code)}"


def _failure(shown: Shown) -> str:
    """How a command ended; else the message, if there is nothing but that."""
    first, _, rest = shown.text.lstrip()[:_READ].partition("\n")
    if found := _EXIT.match(first):
        return _exit_words(int(found["code"] or f"-{found['signal']}"))
    sentence = one_line(first, _WORDS + 1)
    alone = not rest.strip() or rest.lstrip("\n").startswith("Output so far:")
    return f"failed: {sentence}" if alone and 0 < len(sentence) <= _WORDS else "failed"


def _exit_words(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _alarm(proof: StopReport | None) -> str:
    return "" if proof is None else refusal(proof).strip()
