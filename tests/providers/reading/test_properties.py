"""What holds for every reply: however its bytes are split, whatever its text, wherever it is cut."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.provider import ReasoningDelta, TextDelta, ToolCallDelta
from providers.reading.decoder import Decoder
from providers.reading.parser import StreamError, Summary, Unreadable, WebPage
from providers.reading.protocols import Protocol
from tests.providers.harness import calls_of
from tests.providers.odd_replies import ODD_REPLIES, Odd
from tests.servers.record import Request
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Script

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from core.model.messages import FinishReason

SPOKEN = {
    "openai": Protocol.CHAT,
    "azure": Protocol.CHAT,
    "anthropic": Protocol.ANTHROPIC,
    "gemini": Protocol.GEMINI,
    "ollama": Protocol.OLLAMA,
    "responses": Protocol.RESPONSES,
}
PATHS = {"gemini": "/v1beta/models/m:streamGenerateContent"}
each_protocol = pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "azure"])
TEXTS = st.lists(
    st.one_of(
        st.text(min_size=1, max_size=8),
        st.sampled_from(
            [
                "[DONE]",
                "data: ",
                "\n\n",
                "event: error\n",
                "\r\n",
                "\r",
                "\u2028",
                "\u0085",
                "\0",
                "\ud83d",
                "{",
                ": ",
            ]
        ),
        st.text(st.characters(categories=["Cs"]), min_size=1, max_size=2),
    ),
    min_size=1,
    max_size=6,
).map(tuple)


@dataclass(slots=True)
class Read:
    """What a reader makes of the bytes of a reply. `failed` is the kind of error, or None."""

    deltas: list[Any] = field(default_factory=list)
    finish: FinishReason | None = None
    is_complete: bool = False
    failed: type[Exception] | None = None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta))

    @property
    def calls(self) -> list[tuple[str, str]]:
        return [(name, arguments) for _, name, arguments in calls_of(self.deltas)]


def read(protocol: Protocol, pieces: Iterable[bytes]) -> Read:
    summary, decoder, result = Summary(), Decoder(), Read()
    parser = protocol.parser(summary)
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                result.deltas += [] if parser.is_done else parser.parse(event)
        if not parser.is_done:
            for event in decoder.finish():
                result.deltas += parser.parse(event)
            if decoder.document is not None:
                result.deltas += parser.parse_document(decoder.document)
        result.deltas += parser.rest()
    except (StreamError, Unreadable, WebPage) as error:
        result.failed = type(error)
    result.is_complete = parser.is_complete and result.failed is None
    result.finish = summary.finish
    return result


def split_at(body: bytes, places: Iterable[int]) -> list[bytes]:
    cuts = [0, *sorted({place % (len(body) + 1) for place in places}), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(cuts)]


def bytes_of(name: str, script: Script, change: Callable[[bytes], bytes] = lambda data: data) -> bytes:
    """A reply as the tests' server of this protocol sends it, `change` applied to each frame."""
    request = Request("POST", PATHS.get(name, "/"), {}, {}, {"model": "m", "stream": True})
    return b"".join(change(frame.data) for frame in PROTOCOLS[name].server().stream(script, request))


def changed_json(change: Callable[[Any], Any], *, escaped: bool = True) -> Callable[[bytes], bytes]:
    """Applies `change` to the JSON of a frame."""

    def apply(frame: bytes) -> bytes:
        head, brace, tail = frame.partition(b"{")
        if not brace:
            return frame
        body = (brace + tail).rstrip(b"\n")
        text = json.dumps(change(json.loads(body)), ensure_ascii=escaped)
        return head + text.encode() + frame[len(head) + len(body) :]

    return apply


def without_ids(deltas: list[Any]) -> list[Any]:
    return [
        (delta.index, delta.arguments, delta.name) if isinstance(delta, ToolCallDelta) else delta
        for delta in deltas
    ]


@pytest.mark.promise("P7")
@pytest.mark.parametrize("odd", ODD_REPLIES, ids=str)
@given(places=st.lists(st.integers(min_value=0), max_size=12))
def test_a_split_changes_nothing(odd: Odd, places: list[int]) -> None:
    protocol = SPOKEN[odd.protocol]
    whole, pieces = read(protocol, [odd.body]), read(protocol, split_at(odd.body, places))
    assert without_ids(pieces.deltas) == without_ids(whole.deltas)
    assert (pieces.finish, pieces.failed) == (whole.finish, whole.failed)


@pytest.mark.parametrize("odd", ODD_REPLIES, ids=str)
def test_single_bytes_change_nothing(odd: Odd) -> None:
    protocol = SPOKEN[odd.protocol]
    whole, pieces = read(protocol, [odd.body]), read(protocol, (bytes([byte]) for byte in odd.body))
    assert without_ids(pieces.deltas) == without_ids(whole.deltas)
    assert (pieces.finish, pieces.failed) == (whole.finish, whole.failed)


@pytest.mark.promise("P7")
@each_protocol
@given(text=TEXTS, reasoning=TEXTS, argument=TEXTS)
def test_any_text_arrives_unchanged(
    name: str, text: tuple[str, ...], reasoning: tuple[str, ...], argument: tuple[str, ...]
) -> None:
    call = Call("call_1", "write", (json.dumps({"text": "".join(argument)}),))
    found = read(SPOKEN[name], [bytes_of(name, Script(text=text, reasoning=reasoning, calls=(call,)))])
    assert found.is_complete
    assert (found.text, found.reasoning) == (as_json_has_it(text), as_json_has_it(reasoning))
    assert [(made, json.loads(arguments)) for made, arguments in found.calls] == [
        ("write", json.loads(call.text))
    ]


def as_json_has_it(pieces: tuple[str, ...]) -> str:
    """To JSON, two halves of a surrogate pair in one text are the character."""
    return "".join(json.loads(json.dumps(piece)) for piece in pieces)


@pytest.mark.promise("P7")
@each_protocol
@given(text=TEXTS)
def test_text_that_is_not_escaped_arrives_unchanged(name: str, text: tuple[str, ...]) -> None:
    sent = tuple(piece.encode("utf-8", "replace").decode() for piece in text)
    body = bytes_of(name, Script(text=sent), changed_json(lambda value: value, escaped=False))
    found = read(SPOKEN[name], [body])
    assert found.is_complete
    assert found.text == "".join(sent)


USUAL = Script(
    text=("one ", "two"),
    reasoning=("hm",),
    calls=(Call("call_1", "read", ('{"pa', 'th": "a"}')), Call("call_2", "write", ("{}",))),
)


@lru_cache
def usual_reply(name: str) -> tuple[bytes, Read]:
    body = bytes_of(name, USUAL)
    return body, read(SPOKEN[name], [body])


@pytest.mark.promise("P6", "P7")
@each_protocol
def test_a_reply_that_is_cut_anywhere_is_not_complete_unless_nothing_is_missing(name: str) -> None:
    body, whole = usual_reply(name)
    assert whole.is_complete
    for place in range(len(body)):
        cut = read(SPOKEN[name], [body[:place]])
        if cut.is_complete:
            assert without_ids(cut.deltas) == without_ids(whole.deltas)
            assert cut.finish is whole.finish


EXTRAS: tuple[Any, ...] = (None, True, 0, -1.5, "", "text", [], [None], {}, {"text": "x"}, [{"error": "x"}])


@each_protocol
@given(chance=st.randoms(use_true_random=False))
def test_fields_that_nobody_knows_change_nothing(name: str, chance: random.Random) -> None:
    def grown(value: Any) -> Any:
        match value:
            case dict():
                more = {f"x_{n}": chance.choice(EXTRAS) for n in range(chance.randrange(3))}
                # Not into arguments, which are the model's.
                kept = {key: it if key in ("args", "arguments") else grown(it) for key, it in value.items()}
                return more | kept
            case list():
                return [grown(item) for item in value]
            case _:
                return value

    _, whole = usual_reply(name)
    found = read(SPOKEN[name], [bytes_of(name, USUAL, changed_json(grown))])
    assert without_ids(found.deltas) == without_ids(whole.deltas)
    assert found.is_complete


@each_protocol
@given(body=st.binary(max_size=300), place=st.integers(min_value=0))
def test_random_bytes_end_in_a_clear_error_or_change_nothing(name: str, body: bytes, place: int) -> None:
    """Whatever is put anywhere into a reply, nothing but the errors of this package is raised."""
    usual, _ = usual_reply(name)
    at = place % len(usual)
    read(SPOKEN[name], [usual[:at], body, usual[at:]])


NAMES = ("choices", "delta", "content", "type", "message", "candidates", "output", "item", "response")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)


@each_protocol
@given(value=JSON)
def test_any_json_ends_in_a_clear_error_or_is_passed_over(name: str, value: Any) -> None:
    read(SPOKEN[name], [f"data: {json.dumps(value)}\n\n".encode()])
