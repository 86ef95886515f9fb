"""What crosses between the two processes comes back as it was; anything else is refused and never quoted."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.directory import OwnServer
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model.provider import (
    Closing,
    Effort,
    FailureKind,
    KeptAlive,
    ModelInfo,
    ModelRequest,
    Parameters,
    ParametersDropped,
    Phase,
    PhaseChanged,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)
from core.model.server_options import Reader, ServerOptions
from providers.wire import (
    AskWindow,
    Cancel,
    Describe,
    Described,
    End,
    Failed,
    HandedOver,
    KeyRefused,
    KnownModel,
    Lines,
    Listed,
    ListModels,
    ListServer,
    Open,
    Ready,
    ServerListed,
    Start,
    Stopped,
    StreamDelta,
    ToChild,
    ToParent,
    UseKey,
    WindowTold,
    dump,
    load_to_child,
    load_to_parent,
)
from tests.core.storage.random_records import messages, texts, usages
from tests.support.pictures import image, png

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "sk-secret-0123456789abcdef"

_ids = st.integers(0, 2**63)
_floats = st.floats(allow_nan=False)
_maybe_text = st.none() | texts
_parameters = st.builds(
    Parameters,
    st.none() | st.sampled_from(Effort),
    st.none() | _floats,
    st.none() | _floats,
    st.none() | st.integers(),
)
_options = st.builds(
    ServerOptions,
    first_byte_timeout=_floats,
    stream=st.booleans(),
    headers=st.dictionaries(st.text("ab-", max_size=3), texts, max_size=2),
    body=texts,
    context_window=st.none() | st.integers(),
    reader=st.sampled_from(Reader),
)
_requests = st.builds(
    ModelRequest,
    texts,
    st.lists(messages, max_size=4).map(tuple),
    _maybe_text,
    _maybe_text,
    st.booleans(),
    st.lists(st.builds(ToolSpec, texts, texts, texts), max_size=2).map(tuple),
    _parameters,
    _maybe_text,
    _maybe_text,
    _options,
)
_infos = st.recursive(
    st.builds(ModelInfo, texts, st.none() | st.integers(), input_price=st.none() | _floats),
    lambda members: st.builds(
        ModelInfo,
        texts,
        tools=st.none() | st.booleans(),
        members=st.lists(members, max_size=2).map(tuple),
    ),
    max_leaves=4,
)
_deltas = (
    st.builds(TextDelta, texts)
    | st.builds(ReasoningDelta, texts, _maybe_text)
    | st.builds(ToolCallDelta, _ids, texts, _maybe_text, _maybe_text)
    | st.builds(PhaseChanged, st.sampled_from(Phase))
    | st.builds(KeptAlive)
    | st.builds(ParametersDropped, texts, st.lists(texts, max_size=3).map(tuple))
)
_servers = st.builds(OwnServer, texts, texts, texts, texts, _maybe_text, _options)
_known_models = st.builds(KnownModel, _infos, st.none() | st.booleans())

TO_CHILD: dict[type, st.SearchStrategy[Any]] = {
    Cancel: st.builds(Cancel, _ids),
    Describe: st.builds(Describe, _ids, texts),
    ListModels: st.builds(ListModels, _ids),
    ListServer: st.builds(ListServer, _ids, _servers),
    AskWindow: st.builds(AskWindow, _ids, _servers, texts),
    UseKey: st.builds(UseKey, texts, texts),
    Start: st.builds(Start, _ids),
    KeyRefused: st.builds(KeyRefused, texts, _maybe_text),
}
TO_PARENT: dict[type, st.SearchStrategy[Any]] = {
    Ready: st.builds(Ready),
    HandedOver: st.builds(HandedOver, _ids, texts),
    StreamDelta: st.builds(StreamDelta, _ids, _deltas),
    End: st.builds(End, _ids, st.sampled_from(FinishReason), st.none() | usages, texts, texts, st.booleans()),
    Failed: st.builds(
        Failed,
        _ids,
        st.sampled_from(FailureKind),
        texts,
        texts,
        st.none() | st.integers(),
        st.none() | _floats,
    ),
    Stopped: st.builds(Stopped, _ids, st.sampled_from(Closing), _floats),
    Described: st.builds(Described, _ids, _infos),
    Listed: st.builds(Listed, _ids, st.lists(_known_models, max_size=3).map(tuple), st.booleans()),
    ServerListed: st.builds(ServerListed, _ids, st.lists(_infos, max_size=3).map(tuple), texts),
    WindowTold: st.builds(WindowTold, _ids, st.none() | st.integers(0, 2**40)),
}


def test_every_kind_of_message_is_tested() -> None:
    assert {Open, *TO_CHILD} == set(ToChild.__args__)
    assert set(TO_PARENT) == set(ToParent.__args__)


def is_one_line(line: bytes) -> bool:
    return line.endswith(b"\n") and line.count(b"\n") == 1


@pytest.mark.parametrize("kind", TO_CHILD)
@given(st.data())
def test_a_message_to_the_child_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    message = data.draw(TO_CHILD[kind])
    line = dump(message)
    assert is_one_line(line)
    assert load_to_child(line) == message


@pytest.mark.parametrize("kind", TO_PARENT)
@given(st.data())
def test_a_message_to_the_parent_comes_back_as_it_was(kind: type, data: st.DataObject) -> None:
    message = data.draw(TO_PARENT[kind])
    line = dump(message)
    assert is_one_line(line)
    assert line.isascii()
    assert load_to_parent(line) == message


def without_halves(value: Any) -> Any:
    """`value` with a question mark for each half of a surrogate pair."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list() | tuple():
            return [without_halves(item) for item in value]
        case dict():
            return {name: without_halves(item) for name, item in value.items()}
    return value


@given(st.builds(Open, _ids, _requests))
def test_a_request_comes_back_with_question_marks_for_half_surrogates(opened: Open) -> None:
    line = dump(opened)
    assert is_one_line(line)
    # As lists and dictionaries: an equal number of another type would not do.
    expected = without_halves(msgspec.to_builtins(opened, enc_hook=str.__str__))
    arrived = msgspec.to_builtins(load_to_child(line), enc_hook=str.__str__)
    assert json.dumps(without_halves(arrived)) == json.dumps(expected)


def test_a_key_is_not_shown_by_its_message() -> None:
    message = UseKey("TEAM_LLM_KEY", SECRET)
    assert SECRET not in f"{message!r} {list(message.__rich_repr__())}"


EXAMPLES: list[ToChild | ToParent] = [
    Open(
        1,
        ModelRequest(
            SECRET,
            (
                UserMessage(SECRET),
                AssistantMessage(
                    (Text(SECRET), Reasoning(SECRET, SECRET), ToolCall(SECRET, SECRET, SECRET)), SECRET
                ),
                ToolResults((ToolResult(SECRET, SECRET, ResultStatus.FAILED, SECRET),)),
            ),
            tools=(ToolSpec(SECRET, SECRET, SECRET),),
            server=ServerOptions(headers={SECRET: SECRET}, body=SECRET),
        ),
    ),
    Start(1),
    Cancel(1),
    KeyRefused(SECRET, SECRET),
    HandedOver(1, SECRET),
    Describe(1, SECRET),
    ListModels(1),
    UseKey("TEAM_LLM_KEY", SECRET),
    Ready(),
    StreamDelta(1, TextDelta(SECRET)),
    StreamDelta(1, ReasoningDelta(SECRET, SECRET)),
    StreamDelta(1, ToolCallDelta(0, SECRET, SECRET, SECRET)),
    StreamDelta(1, PhaseChanged(Phase.CONNECTING)),
    StreamDelta(1, ParametersDropped(SECRET, (SECRET,))),
    End(1, FinishReason.STOP, Usage(1, 2), SECRET, SECRET, True),
    Failed(1, FailureKind.NO_KEY, SECRET, SECRET, 401, 1.0),
    Stopped(1, Closing.CLOSED, 1.0),
    Described(1, ModelInfo(SECRET, 5)),
    Listed(1, (KnownModel(ModelInfo(SECRET), usable=True),), last=True),
]


def refuses(line: bytes) -> None:
    """Both sides refuse `line` and say nothing of what is in it."""
    for load in (load_to_child, load_to_parent):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - of no particular text
            load(line)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert caught.value.__context__ is None


def broken(value: Any) -> Iterator[Any]:
    """`value`, JSON, with something of a wrong type at each place in turn."""
    match value:
        case list():
            for place, item in enumerate(value):
                for other in broken(item):
                    yield [*value[:place], other, *value[place + 1 :]]
        case dict():
            yield SECRET
            # A value of another type than any field has.
            for name in value:
                yield {**value, name: {SECRET: SECRET}}
        case _:
            yield {SECRET: SECRET}
            yield [SECRET]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_what_is_cut_off_or_of_a_wrong_type_is_refused_and_not_quoted(message: Any) -> None:
    line = dump(message)
    for length in range(len(line) - 1):
        refuses(line[:length])
    refuses(b"\xff" + line)
    value = json.loads(line)
    for other in ([*value, SECRET], value[:-1], *broken(value)):
        refuses(json.dumps(other).encode())


@pytest.mark.parametrize(
    "value",
    [
        [SECRET],
        [SECRET, 1],
        ["\ud800", 1],
        [1, SECRET],
        [],
        None,
        SECRET,
        {"type": "cancel", "stream_id": 1},
        ["cancel", True],
        ["cancel", "1"],
        ["cancel", 1.0],
        ["cancel", None],
        ["open", 1, {"model": "m", "messages": [], SECRET: 1}],
        ["open", 1, {"model": "m", "messages": [], "parameters": {SECRET: 1}}],
        ["open", 1, {"model": "m", "messages": [], "parameters": {"effort": SECRET}}],
        ["open", 1, {"model": "m", "messages": [{"role": SECRET, "text": ""}]}],
        ["open", 1, {"model": "m"}],
        ["delta", 1, {"type": SECRET, "text": ""}],
        ["delta", 1, {"text": SECRET}],
        ["delta", 1, {"type": "phase", "phase": SECRET}],
        ["end", 1, SECRET, None, "m"],
        ["end", 1, "stop", {"input": 1.5, "output": 2}, "m"],
        ["described", 1, {"model": "m", SECRET: 1}],
    ],
    ids=repr,
)
def test_what_is_no_message_is_refused_and_not_quoted(value: Any) -> None:
    refuses(json.dumps(value).encode())


def test_what_is_nested_too_deeply_is_refused() -> None:
    refuses(b"[" * 200_000)


@given(st.binary())
def test_bytes_that_are_no_message_are_refused(line: bytes) -> None:
    refuses(line)


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    data=st.data(),
)
def test_lines_are_put_together_however_they_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    left, buffer, read = b"".join(line + b"\n" for line in lines), Lines(), []
    while left:
        size = data.draw(st.integers(1, len(left)))
        read += buffer.feed(left[:size])
        left = left[size:]
    assert read == lines


@pytest.mark.promise("P4")
def test_a_long_line_is_not_copied_with_each_piece_of_it() -> None:
    """A conversation with pictures in it is one. Copied each time, this takes half an hour."""
    buffer, piece, times = Lines(), b"0123456789abcdef" * 4, 1 << 18
    for _ in range(times):
        assert buffer.feed(piece) == []
    assert buffer.feed(b"\n") == [piece * times]


def test_images_arrive_as_they_are() -> None:
    """Also next to half a surrogate pair."""
    result = ToolResult(
        "c", "shot", ResultStatus.COMPLETED, '\ud800 " \\ wörds', (image(png()), image(png(5)))
    )
    sent = load_to_child(dump(Open(1, ModelRequest("m", (ToolResults((result, result)),)))))
    assert isinstance(sent, Open)
    arrived = msgspec.structs.replace(result, text='? " \\ wörds')
    assert sent.request.messages == (ToolResults((arrived, arrived)),)
