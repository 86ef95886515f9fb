"""The part of a conversation that the next request holds, and how much of the model's window it fills.

All of it is a function of the steps and the compactions: the same history always gives the same messages, so
that a provider's cache of them holds, and only a compaction changes what is sent. It must never change a
step, and never cut between a call and its result: a compaction ends with a whole step (C3).

Not solved: tokens that the provider has not counted yet are estimated from the number of characters, since
the tokenizers of most models are not public.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from core.base.values import Value
from core.model.messages import (
    OUTPUT_SO_FAR,
    REMINDER,
    AssistantMessage,
    Reasoning,
    ResultStatus,
    Text,
    ToolCall,
    ToolResults,
    UserMessage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.model.messages import Message, Part, Step, ToolResult
    from core.model.provider import ModelInfo, ToolSpec
    from core.storage.records import Compaction

OUTPUT_KEPT = 3_000
"""Characters that are kept of a trimmed output, two thirds of them from its beginning."""
PROMPT_KEPT = 8_000
"""The same for the current prompt when the conversation before it is summarized."""
_NOTE_ROOM = 200
"""Maximum length of the note about the gap: text is cut only if that makes it shorter."""
_ASCII_PER_TOKEN = 3.5
_OTHER_BYTES_PER_TOKEN = 2.5
"""UTF-8 bytes per token: an accented letter counts 0.8 tokens, a Chinese character 1.2, an emoji 1.6."""
_IMAGE_TOKENS = 1_500
"""An image of a screen; providers count by its sides, each in its own way."""
_MESSAGE_TOKENS = 8
"""Tokens of a message, a call or a result besides its text."""

_RESERVE = 16_000
_RESERVED_PART = 1 / 8
_FULL_AT = 0.85
_SURELY_FULL = 1.25


class TokenBudget(Value):
    """Token limits of a model: its window, and the part kept free for the reply."""

    window: int
    reserve: int

    @property
    def full(self) -> int:
        """Maximum length of a request."""
        return self.window - self.reserve

    @property
    def threshold(self) -> int:
        """The length from which space is freed early; the margin covers errors of the estimate."""
        return int(_FULL_AT * self.full)

    def surely_exceeded(self, tokens: int) -> bool:
        """Whether an estimate exceeds the window so far that asking the provider is needless."""
        return tokens > _SURELY_FULL * self.window


def room_of(info: ModelInfo) -> TokenBudget | None:
    """The token budget of a model, None when its window is not known."""
    if info.context_window is None:
        return None
    wanted = min(_RESERVE if info.max_output is None else info.max_output, _RESERVE)
    return TokenBudget(info.context_window, min(wanted, int(_RESERVED_PART * info.context_window)))


class Context(Value):
    """The next request: the conversation, its compactions, and the new messages.

    `pending` are the messages that no step holds yet, `overhead` the tokens of the system prompt and the
    tools.
    """

    steps: tuple[Step, ...]
    compactions: tuple[Compaction, ...] = ()
    pending: tuple[Message, ...] = ()
    overhead: int = 0

    @property
    def newest(self) -> Compaction | None:
        """The compaction in force."""
        return live(self.steps, self.compactions)

    @property
    def upto(self) -> int:
        """How many steps the summary replaces."""
        return 0 if (newest := self.newest) is None else newest.upto

    @property
    def trimmed(self) -> int:
        """The step before which outputs are sent shortened."""
        return 0 if (newest := self.newest) is None else min(newest.trimmed, len(self.steps))

    def messages(self) -> tuple[Message, ...]:
        return (*visible(self.steps, self.compactions), *self.pending)

    def tokens(self) -> int:
        """The length of the next request: the provider's last count, and an estimate of what came since."""
        measured = self._measured()
        if measured is None:
            return self.overhead + tokens_of(self.messages())
        number, tokens = measured
        trimmed = self.trimmed
        results = (m for m in shown(self.steps, number, trimmed) if isinstance(m, ToolResults))
        later = chain.from_iterable(
            shown(self.steps, later, trimmed) for later in range(number + 1, len(self.steps))
        )
        return tokens + tokens_of(chain(results, later, self.pending))

    def with_compaction(self, compaction: Compaction) -> Context:
        return replace(self, compactions=(*self.compactions, compaction))

    def _measured(self) -> tuple[int, int] | None:
        """The latest step that the provider counted under the current compaction, and its tokens.

        A later compaction that was undone held from some step on; which one is not known.
        """
        newest = self.newest
        number = 0 if newest is None else newest.number
        ends = (later.made_after for later in self.compactions if later.number > number)
        end = min(ends, default=len(self.steps))
        begin = 0 if newest is None else newest.made_after
        for at in range(min(end, len(self.steps)) - 1, begin - 1, -1):
            usage = self.steps[at].usage
            if usage is not None and usage.input_tokens > 0:
                return at, usage.input_tokens + usage.output_tokens
        return None


def live(steps: Sequence[Step], compactions: Iterable[Compaction]) -> Compaction | None:
    """The newest compaction that was not undone and whose steps are all here: a fork has fewer."""
    usable = (each for each in compactions if not each.undone and each.upto <= len(steps))
    return max(usable, key=lambda each: each.number, default=None)


def visible(steps: Sequence[Step], compactions: Iterable[Compaction]) -> tuple[Message, ...]:
    """The messages of the next request, for `core.model.messages.sendable`: the summary, and all after it."""
    newest = live(steps, compactions)
    if newest is None:
        return tuple(message for step in steps for message in step.messages)
    summary = (summary_message(steps, newest),) if newest.upto else ()
    behind = chain.from_iterable(
        shown(steps, number, newest.trimmed) for number in range(newest.upto, len(steps))
    )
    return (*summary, *behind)


def summary_message(steps: Sequence[Step], compaction: Compaction) -> UserMessage:
    """The summary as the model gets it, with the current prompt if no later message contains it."""
    count = compaction.upto
    replaced = "The first step of it is" if count == 1 else f"The first {count} steps of it are"
    parts = [
        "[This is a summary of the earlier conversation. It was written by the model, not by the user, when "
        f"the conversation had become too long to be sent. {replaced} not sent any more.]",
        compaction.summary,
        "[End of the summary.]",
    ]
    if (prompt := _prompt_at_work(steps, compaction.upto)) is not None:
        asked = shortened(prompt.text, PROMPT_KEPT, "characters left out by Caesura")
        parts += ["[What the user asked for last, in the user's own words; it is being worked on:]", asked]
    return UserMessage("\n\n".join(parts))


def _prompt_at_work(steps: Sequence[Step], upto: int) -> UserMessage | None:
    """The last prompt before `upto` if its turn continues after it: no message that is sent contains it."""
    if upto >= len(steps) or any(isinstance(message, UserMessage) for message in steps[upto].messages):
        return None
    before = (message for step in reversed(steps[:upto]) for message in reversed(step.messages))
    return next((message for message in before if isinstance(message, UserMessage)), None)


def shown(steps: Sequence[Step], number: int, trimmed: int) -> tuple[Message, ...]:
    """The messages of step `number`; before `trimmed` with short outputs and without old reminders (S8)."""
    messages = steps[number].messages
    return tuple(map(_trimmed, messages)) if number < trimmed else messages


def _trimmed(message: Message) -> Message:
    match message:
        case ToolResults(results):
            return ToolResults(tuple(map(_trimmed_result, results)))
        case UserMessage() | AssistantMessage():
            return message
        case _:
            assert_never(message)


def _trimmed_result(result: ToolResult) -> ToolResult:
    note = "characters trimmed by Caesura: run it again or read the file if they are needed"
    trimmed = replace(result, text=shortened(without_reminder(result), OUTPUT_KEPT, note))
    return trimmed.in_words("[{}, trimmed by Caesura: run it again if it is needed]")


def without_reminder(result: ToolResult) -> str:
    """The text of a result without the reminder of its stop, which is sent only once (S8)."""
    if result.status not in (ResultStatus.STOPPED, ResultStatus.NOT_STARTED):
        return result.text
    told, begin, output = result.text.partition(OUTPUT_SO_FAR)
    return told.removesuffix(f" {REMINDER}") + begin + output


def shortened(text: str, kept: int, note: str) -> str:
    """`text` without its middle if it is longer than `kept` characters, with a `note` of what is missing."""
    if len(text) <= kept + _NOTE_ROOM:
        return text
    tail = kept // 3
    head = kept - tail
    return f"{text[:head]}\n[… {len(text) - kept:,} {note} …]\n{text[-tail:]}"


def tokens_of(messages: Iterable[Message]) -> int:
    """An estimate, rather too high."""
    return sum(map(_message_tokens, messages))


def overhead_tokens(system: str | None, tools: Iterable[ToolSpec]) -> int:
    """An estimate of the tokens of a request besides its messages."""
    texts = [system or "", *(f"{tool.name}{tool.description}{tool.parameters}" for tool in tools)]
    return sum(text_tokens(text) + _MESSAGE_TOKENS for text in texts)


def text_tokens(text: str) -> int:
    """An estimate of the tokens of a text, in any script."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    other = 0 if plain == len(text) else len(text.encode("utf-8", "surrogatepass")) - plain
    return math.ceil(plain / _ASCII_PER_TOKEN + other / _OTHER_BYTES_PER_TOKEN)


def _message_tokens(message: Message) -> int:
    match message:
        case UserMessage(text):
            return text_tokens(text) + _MESSAGE_TOKENS
        case AssistantMessage(parts):
            return sum(map(_part_tokens, parts)) + _MESSAGE_TOKENS
        case ToolResults(results):
            return sum(map(_result_tokens, results))
        case _:
            assert_never(message)


def _result_tokens(result: ToolResult) -> int:
    return text_tokens(result.text) + _IMAGE_TOKENS * len(result.images) + _MESSAGE_TOKENS


def _part_tokens(part: Part) -> int:
    match part:
        case Text(text):
            return text_tokens(text)
        case Reasoning(text, signature):
            # Without a signature it is not sent back.
            return text_tokens(text) if signature else 0
        case ToolCall(name=name, arguments=arguments):
            return text_tokens(name) + text_tokens(arguments) + _MESSAGE_TOKENS
        case _:
            assert_never(part)
