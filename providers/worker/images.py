"""Which images of results go to a model, and the words that it gets for the others."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from core.model.images import MOST_IMAGES, size_of
from core.model.messages import ToolResults

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.model.messages import Message, ToolResult

MOST_BYTES = 12_000_000
"""Of the images of a request, before they are base64: Gemini takes requests of 20 MB, Anthropic of 32 MB."""

UNSEEN = "[image, {}: this model cannot see it]"
TOO_OLD = "[image, {}: not sent any more, newer ones are]"


def fitting(messages: Iterable[Message], *, sees: bool) -> tuple[Message, ...]:
    """`messages` with words in place of images that are not sent: of all, if the model does not see."""
    messages = tuple(messages)
    results = [it for message in messages if isinstance(message, ToolResults) for it in message.results]
    if not any(result.images for result in results):
        return messages
    first, words = (_first_sent(results), TOO_OLD) if sees else (len(results), UNSEEN)
    place = count()

    def fit(message: Message) -> Message:
        if not isinstance(message, ToolResults):
            return message
        return ToolResults(tuple(it.in_words(words) if next(place) < first else it for it in message.results))

    return tuple(map(fit, messages))


def _first_sent(results: Sequence[ToolResult]) -> int:
    """The first result whose images are sent.

    Whenever a limit is reached, all images so far are left out at once, and not one more with each request:
    so the beginning of the prompt seldom changes, and stays in the provider's cache.
    """
    first, size, number = 0, 0, 0
    for at, result in enumerate(results):
        more = sum(size_of(image.data) for image in result.images)
        if size + more > MOST_BYTES or number + len(result.images) > MOST_IMAGES:
            first, size, number = at, 0, 0
        size += more
        number += len(result.images)
    return first
