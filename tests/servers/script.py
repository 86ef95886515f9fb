"""What a wire-protocol server is to answer: content, pace and misbehaviour, the same for every protocol.

A script says nothing of JSON or events; each protocol's server turns it into its own frames. It must never
know a protocol.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain, repeat
from typing import TYPE_CHECKING

from core.model.messages import FinishReason, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.record import Request


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call, sound or not.

    `call_id` None leaves the id out; Gemini and Ollama have none anyway. `arguments` are the pieces in which
    its JSON text is streamed, where the protocol can; where they must be an object, a text that is none
    stands in its place. OpenAI and Azure alone heed the rest: `opened_whole` puts id, name and all arguments
    into one delta, and `index` is the call's number among its siblings, which some servers get wrong.
    """

    call_id: str | None
    name: str
    arguments: tuple[str, ...] = ("{}",)
    opened_whole: bool = False
    index: int | None = None

    @property
    def text(self) -> str:
        return "".join(self.arguments)

    @property
    def value(self) -> object:
        """The arguments as an object, or their text when they are none; no text is an empty object."""
        try:
            value: object = json.loads(self.text or "{}")
        except ValueError:
            return self.text
        return value if isinstance(value, dict) else self.text


class Refusal(Enum):
    """Why a request is refused; each protocol answers with its provider's own status and body."""

    BAD_REQUEST = 400
    CONTEXT_TOO_LONG = -400
    """Status 400 too; negative only to be another member."""
    WRONG_KEY = 401
    UNKNOWN_MODEL = 404
    RATE_LIMITED = 429
    SERVER_ERROR = 500
    OVERLOADED = 529
    """529 at Anthropic, 503 elsewhere."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Take the request and never send headers, until `Server.release`."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Send `after` deltas and then nothing, with the connection open, until `Server.release`.

    0 sends the headers and nothing else.
    """

    after: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """Close after `after` deltas as if that were fine: a FIN without the protocol's end or HTTP's."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Truncate:
    """End the HTTP response properly after `after` deltas, without the protocol's own end."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST) after `after` deltas."""

    after: int = 0


class Rubbish(Enum):
    """What a garbled stream contains in place of an event's payload."""

    BROKEN_JSON = b'{"choices": [{"delta": {"content": "half'
    INVALID_UTF8 = b'{"choices": [{"delta": {"content": "\xff\xfe\xc3("}}]}'
    WRONG_SHAPE = b'{"choices": "none", "type": 7, "candidates": 3, "message": []}'
    NOT_JSON = b"<html><body>502 Bad Gateway</body></html>"


@dataclass(frozen=True, slots=True)
class Garbage:
    """Put one frame of `rubbish` after `after` deltas, then go on as if nothing had happened."""

    after: int = 0
    rubbish: Rubbish = Rubbish.BROKEN_JSON


@dataclass(frozen=True, slots=True)
class Oversized:
    """After `after` deltas send a line of `size` bytes without its end, then go on."""

    after: int = 0
    size: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """After `after` deltas send the protocol's own error event and end the stream properly."""

    after: int = 0
    refusal: Refusal = Refusal.OVERLOADED


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error status instead of a reply.

    `retry_after` is the header's value in seconds. `status` replaces the provider's own. An `endless` body
    sends its JSON without the last byte and then one space every 20 ms, for ever.
    """

    refusal: Refusal
    retry_after: int | None = None
    status: int | None = None
    endless: bool = False


Fault = Silence | Stall | Cut | Truncate | Reset | Garbage | Oversized | ErrorEvent | Refuse


@dataclass(frozen=True, slots=True)
class Script:
    """One reply: reasoning, then text, then calls, then the end.

    A *delta* is a frame that carries content; those that open and close a message do not count. `delay` is
    the pause after each delta in seconds; `drip` the pause between single bytes (None: whole frames). An
    `endless` script repeats its text until the peer leaves; its non-streaming form never sends headers.
    `signature` is Anthropic's signature, Gemini's thought signature and the Responses' encrypted content.
    """

    text: tuple[str, ...] = ("Hello", ", ", "world", ".")
    reasoning: tuple[str, ...] = ()
    signature: str = "c2lnbmVkIGJ5IHRoZSBwcm92aWRlcg=="
    calls: tuple[Call, ...] = ()
    usage: Usage = field(default_factory=lambda: Usage(input_tokens=12, output_tokens=7))
    finish: FinishReason | None = None
    delay: float = 0.0
    drip: float | None = None
    endless: bool = False
    fault: Fault | None = None

    @property
    def reason(self) -> FinishReason:
        if self.finish is not None:
            return self.finish
        return FinishReason.TOOL_CALLS if self.calls else FinishReason.STOP

    @property
    def delta_count(self) -> int:
        """How many deltas the script asks for at most; Gemini and Ollama send a call in one."""
        return len(self.text) + len(self.reasoning) + sum(len(call.arguments) for call in self.calls)

    def text_pieces(self) -> Iterator[str]:
        return chain.from_iterable(repeat(self.text)) if self.endless else iter(self.text)


def flood(chunks: int, *, size: int = 20, fault: Fault | None = None) -> Script:
    """`chunks` numbered lines of `size` characters, as fast as the socket takes them."""
    return Script(text=tuple(f"{n:0{size - 1}d}\n" for n in range(chunks)), fault=fault)


_PROSE = """\
## What the token does

A stop **marks** the token and all below it, *never* its siblings, and returns at once. What waits is woken;
what comes late finds the mark and does not begin. See `core/cancel.py` for the whole of it, which is short.

- The first reason stays, and is stored before anyone can observe the mark.
- A child of a marked token is born marked: no request is sent, no process starts.
  1. Callbacks that are registered late run at once.
  2. Outer cancellation passes through *untouched*.

```python
def cancel(self, reason: CancelReason) -> bool:
    if self._mark is not None:
        return False  # the first reason stays
    self._mark = reason
    return self._wake()
```

| phase | what is closed | seen after |
|---|---|---|
| before headers | the socket | 1.5 ms |
| streaming | the socket, the reader | 1.7 ms |

> A stop that was not seen is not a stop, and a screen that looks idle proves nothing about the server behind.

"""


def prose(*, delay: float = 0.0, endless: bool = False) -> Script:
    """Markdown as models write it, a word or so in each delta; six times, or without end."""
    words = (*re.findall(r"\s*\S+", _PROSE.rstrip()), "\n\n")
    return Script(text=words if endless else words * 6, delay=delay, endless=endless)


def in_turn(*scripts: Script) -> Callable[[Request], Script]:
    """A chooser that gives the nth request the nth script; the last one serves all later requests."""
    remaining = list(scripts)

    def choose(request: Request) -> Script:
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    return choose
