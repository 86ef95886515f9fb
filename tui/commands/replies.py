"""Which reply a person means by a number, for copying it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.messages import AssistantMessage
from tui.slash import SlashCommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.messages import Step


def reply_to_copy(steps: Sequence[Step], words: str) -> tuple[int, str]:
    """The number, counted from the end, and the Markdown of the reply that `words` asks for.

    A reply without text, only with calls, is none. Raises `SlashCommandError` where there is no such reply.
    """
    if words and not (words.isascii() and words.isdigit() and int(words) > 0):
        raise SlashCommandError("/copy copies the last reply, /copy 2 the one before it: a number is needed.")
    number = int(words) if words else 1
    texts = [text for step in reversed(steps) if (text := _text(step))]
    if number > len(texts):
        there = f"there are {len(texts)}." if texts else "nothing was said yet."
        raise SlashCommandError(f"There is no such reply to copy: {there}")
    return number, texts[number - 1]


def _text(step: Step) -> str:
    said = "".join(message.text for message in step.messages if isinstance(message, AssistantMessage))
    return said.strip()
