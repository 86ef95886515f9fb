"""Which reply a number refers to, for copying it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.messages import AssistantMessage
from tui.commands.slash import SlashCommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.messages import Step


def reply_to_copy(steps: Sequence[Step], words: str) -> tuple[int, str]:
    """Return the number, counted from the end, and the Markdown of the reply that `words` asks for.

    A reply that has only calls and no text does not count. Raises `SlashCommandError` if there is no such
    reply.
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
