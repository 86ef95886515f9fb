"""What `/continue` takes up (H9, P7), and which prompt goes back to the composer (H1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.operations.events import Outcome
from core.session.queue import SessionError

if TYPE_CHECKING:
    from core.model.reply_end import ReplyEnd
    from core.operations.events import TurnEnded
    from core.storage.records import TurnRecord

CONTINUE_PROMPT = "Continue exactly where you were stopped, without repeating any of it."


class Continuation:
    """How the latest turn ended. The prompt of `/continue` is nobody's, so it is never returned."""

    def __init__(self) -> None:
        self.returned_prompt: str | None = None
        """The prompt of the latest turn if nothing of it was kept: it goes to an empty composer (H1)."""
        self._unfinished = False

    def restore(self, latest: TurnRecord, end: ReplyEnd | None) -> None:
        """Take over the latest turn of a stored session, whose last reply ended like this.

        Earlier versions took a reply for complete that was not.
        """
        if latest.outcome is not Outcome.COMPLETED or (end is not None and not end.whole):
            self._unfinished = True
            returned = not latest.kept and latest.prompt != CONTINUE_PROMPT
            self.returned_prompt = latest.prompt if returned else None

    def begin(self) -> None:
        """A turn begins."""
        self.returned_prompt = None

    def end(self, ended: TurnEnded) -> TurnEnded:
        """Note the end of a turn, and return it as it is published."""
        if ended.returned_prompt == CONTINUE_PROMPT:
            ended = replace(ended, returned_prompt=None)
        self.returned_prompt = ended.returned_prompt
        # A turn of which nothing was kept changes nothing, and so not what there was to continue.
        completed = ended.outcome is Outcome.COMPLETED
        self._unfinished = not completed and (self._unfinished or ended.returned_prompt is None)
        return ended

    def prompt(self, *, has_steps: bool) -> str:
        """The prompt that continues. Raises `SessionError` if nothing was stopped."""
        if self.returned_prompt is not None:
            return self.returned_prompt
        if self._unfinished and has_steps:
            return CONTINUE_PROMPT
        raise SessionError("There is nothing to continue: the last reply came to its end.")
