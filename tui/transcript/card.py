"""The card of one call: what its row says in each state, and what it unfolds to.

A card knows nothing of the screen. It is changed by the events of its call alone, and never after the last
one: what has ended stays as it ended (U8). No meaning is in a colour only: each state has a mark and words.
"""

from __future__ import annotations

import pickle
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from core.events import ShownKind
from core.messages import ResultStatus
from tui.blocks import PLAIN, CardRow, Look, Part, Prefix, Prose
from tui.card_details import INDENT, argument_blocks, result_blocks
from tui.notices import duration, refusal, stop_words
from tui.output import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.events import BackgroundEnded, CallEnded, Shown, StopProof
    from tui.blocks import Block

NAME_CHARACTERS = 40
CALLS_LISTED = 40
"""Of the calls of a sub-agent so many are listed, the latest."""
_WORDS = 100


class CardState(StrEnum):
    """What is known of a call. The values are the words for it."""

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
_ENDED = {
    ResultStatus.COMPLETED: CardState.COMPLETED,
    ResultStatus.FAILED: CardState.FAILED,
    ResultStatus.DENIED: CardState.DENIED,
    ResultStatus.STOPPED: CardState.STOPPED,
    ResultStatus.NOT_STARTED: CardState.NOT_STARTED,
}
_EXIT = re.compile(r"exit code (?P<code>-?\d+)|ended by signal (?P<signal>\d+)", re.IGNORECASE)
_READ = 4_000
_ALARM = Look(Part.ERROR)


class Card:
    """One call, or one background command. `root` is the card in the transcript that it is shown in: its own,
    or that of the sub-agent which has made it."""

    def __init__(self, name: str, parent: Card | None = None) -> None:
        self.name = one_line(name, NAME_CHARACTERS) or "(no name)"
        self.title = ""
        self.state = CardState.QUEUED
        self.root: Card = self if parent is None else parent.root
        self._calls: list[Card] = []
        self._ending = ""
        self._alarm = ""
        # Packed, for there may be thousands of cards, and few are ever unfolded.
        self._details = b""
        if parent is not None:
            parent._calls.append(self)

    # What happens to the call.

    def start(self, title: str) -> None:
        if self.state.is_open:
            self.title = one_line(title)
            self.state = CardState.RUNNING

    def ask(self, *, asking: bool) -> None:
        """The person is being asked about it, or not any more."""
        if self.state.is_open:
            self.state = CardState.ASKING if asking else CardState.RUNNING

    def end(self, ended: CallEnded) -> None:
        """The last word on it."""
        if not self.state.is_open:
            return
        self.state = _ENDED[ended.status]
        self.title = one_line(ended.title) or self.title
        self._ending = _ending(ended)
        self._alarm = _alarm(ended.proof)
        asked, told = argument_blocks(ended.arguments), result_blocks(ended.shown)
        # What has changed says most of what was asked for.
        self._details = pickle.dumps(told + asked if ended.shown.kind is ShownKind.DIFF else asked + told)

    def end_background(self, ended: BackgroundEnded) -> None:
        """The background command that this card is for is over."""
        if not self.state.is_open:
            return
        self.title = one_line(ended.title)
        self.state, self._ending = _background_end(ended)
        self._alarm = _alarm(ended.proof)
        self._details = pickle.dumps(result_blocks(ended.shown))

    def give_up(self) -> None:
        """Nothing was heard of its end, and nothing will be."""
        if self.state.is_open:
            never_ran = self.state is CardState.QUEUED
            self.state = CardState.NOT_STARTED if never_ran else CardState.UNCONFIRMED

    # What is to be seen of it.

    @property
    def unfolds(self) -> bool:
        return bool(self._details or self._calls)

    def blocks(self, *, folded: bool) -> list[Block]:
        """The row of the card, then whatever stands below it."""
        arrow = ("▸" if folded else "▾") if self.unfolds else ""
        blocks: list[Block] = [self._row(arrow=arrow)]
        if self._alarm:
            blocks.append(Prose(self._alarm, INDENT, _ALARM, markdown=False))
        if not folded:
            blocks += self._listed_calls()
            if self._details:
                blocks += pickle.loads(self._details)
        return blocks

    def _row(self, *, arrow: str = "", depth: int = 0) -> CardRow:
        mark, part = _LOOKS[self.state]
        margin = (("  " * depth, PLAIN),) if depth else ()
        return CardRow(mark, self.name, self.title, self._words(), part, arrow, prefix=Prefix(margin, margin))

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
            if call._alarm:
                blocks.append(Prose(call._alarm, INDENT, _ALARM, markdown=False))
        return blocks


def _ending(ended: CallEnded) -> str:
    took = "" if ended.seconds is None else duration(ended.seconds)
    match ended.status:
        case ResultStatus.COMPLETED:
            return took or "completed"
        case ResultStatus.FAILED:
            return ", ".join(filter(None, (_failure(ended.shown), took)))
        case ResultStatus.DENIED:
            return "denied"
        case ResultStatus.STOPPED:
            return "stopped" if ended.proof is None else stop_words(ended.proof)
        case ResultStatus.NOT_STARTED:
            return "not started"


def _background_end(ended: BackgroundEnded) -> tuple[CardState, str]:
    if ended.proof is not None:
        return CardState.STOPPED, stop_words(ended.proof)
    if ended.exit_code is None:
        return CardState.UNCONFIRMED, "ended, its exit code is unknown"
    state = CardState.COMPLETED if ended.exit_code == 0 else CardState.FAILED
    return state, f"ended, {_exit_words(ended.exit_code)}"


def _failure(shown: Shown) -> str:
    """How a command ended; else, if that is all there is, what was said."""
    first, _, rest = shown.text.lstrip()[:_READ].partition("\n")
    if found := _EXIT.match(first):
        return _exit_words(int(found["code"] or f"-{found['signal']}"))
    sentence = one_line(first, _WORDS + 1)
    alone = not rest.strip() or rest.lstrip("\n").startswith("Output so far:")
    return f"failed: {sentence}" if alone and 0 < len(sentence) <= _WORDS else "failed"


def _exit_words(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _alarm(proof: StopProof | None) -> str:
    return "" if proof is None else refusal(proof).strip()
