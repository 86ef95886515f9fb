"""The demo model: what it says, and what it sees when it is hung up on, over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.demo import texts as texts
from providers.demo.conversation import Role, Said, ToolWord, Word, word_in
from providers.demo.script import (
    SEEN,
    Moment,
    Progress,
    Refusal,
    Reply,
    Silence,
    answer,
    describe_hang_up,
    pieces_of,
)
from providers.demo.server import DemoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG = texts.long_text()
DEADLINE_S = 120.0


@pytest.fixture
def hang_ups() -> SimpleQueue[Progress]:
    return SimpleQueue()


@pytest.fixture
def demo(hang_ups: SimpleQueue[Progress]) -> Iterator[DemoServer]:
    with DemoServer(words_per_s=5_000, on_hang_up=hang_ups.put) as server:
        yield server


def body(*messages: str, stream: bool = True) -> dict[str, Any]:
    """A request in which user and assistant take turns, the user first."""
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(messages)]
    return {"model": "demo", "messages": turns, "stream": stream, "stream_options": {"include_usage": True}}


def url(demo: DemoServer) -> str:
    return f"{demo.url}/chat/completions"


def ask(demo: DemoServer, *messages: str) -> list[dict[str, Any]]:
    """The chunks of a whole streamed reply, which must end properly."""
    reply = post(demo, body(*messages))
    assert reply.status_code == 200
    events = reply.text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events[:-1]]


def post(demo: DemoServer, request: dict[str, Any]) -> httpx.Response:
    return httpx.post(url(demo), json=request, timeout=DEADLINE_S, verify=False)


def text_of(chunks: list[dict[str, Any]], field: str = "content") -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get(field) or "" for delta in deltas)


def connect(demo: DemoServer, request: dict[str, Any]) -> socket.socket:
    """A connection with `request` sent and nothing read."""
    port = httpx.URL(demo.url).port
    assert port is not None
    connection = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    content = json.dumps(request).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content)
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        data = connection.recv(65536)
        assert data, seen[-200:]
        seen += data
    return seen


# -- what it says --


def test_it_introduces_itself_and_says_that_it_is_scripted(demo: DemoServer) -> None:
    chunks = ask(demo, "hello")
    assert text_of(chunks) == texts.GREETING
    assert "not* a language model" in texts.GREETING
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


def test_whatever_it_does_not_understand_is_quoted(demo: DemoServer) -> None:
    said = text_of(ask(demo, "hello", "Hello.", "Write me\na sonnet, please, about the sea"))
    assert "> Write me\n> a sonnet, please, about the sea\n" in said
    assert "I am not a language model" in said
    assert "caesura --model anthropic/claude" in said
    assert texts.GREETING not in said


def test_a_first_message_of_any_kind_gets_the_introduction(demo: DemoServer) -> None:
    assert text_of(ask(demo, "Write me a sonnet about the sea")).startswith("# Welcome to Caesura")


def test_reasoning_has_its_own_channel_and_usage_counts_words(demo: DemoServer) -> None:
    chunks = ask(demo, "think")
    assert text_of(chunks, "reasoning_content") == texts.THOUGHT
    assert text_of(chunks) == texts.THOUGHTS_SHOWN
    told, thought = len(pieces_of(texts.THOUGHTS_SHOWN)), len(pieces_of(texts.THOUGHT))
    assert chunks[-1]["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": told + thought,
        "total_tokens": told + thought + 1,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def test_without_streaming_the_same_text_comes_at_once(demo: DemoServer) -> None:
    reply = post(demo, body("markdown", stream=False)).json()
    assert reply["choices"][0]["message"]["content"] == texts.MARKDOWN


def test_fast_is_5000_pieces(demo: DemoServer) -> None:
    said = text_of(ask(demo, "fast"))
    assert said.count("of 5000.\n") == 5_000


def test_long_is_long() -> None:
    assert 3_000 < len(LONG.split()) < 6_000
    assert "".join(pieces_of(LONG)) == LONG


@pytest.mark.parametrize("word", [*Word, *ToolWord])
def test_every_word_is_understood_and_explained(word: Word | ToolWord) -> None:
    assert word_in(f" {word.upper()}! ") is word
    if word not in (Word.HELLO, Word.HELP, Word.CONTINUE):
        assert f"`{word}`" in texts.HELP


def test_a_sentence_is_not_a_word() -> None:
    assert word_in("why does it take so long today") is None
    assert word_in("") is None


def test_words_that_do_not_reply() -> None:
    assert isinstance(answer((Said(Role.USER, "silent"),), None), Silence)
    assert isinstance(answer((Said(Role.USER, "error"),), None), Refusal)


# -- going on --


@settings(deadline=None)
@given(st.lists(st.integers(1, len(pieces_of(LONG)) - 1), min_size=1, max_size=4, unique=True))
def test_continuing_goes_on_exactly_where_it_was_cut(cuts: list[int]) -> None:
    pieces = pieces_of(LONG)
    conversation = [Said(Role.USER, "long")]
    start = 0
    for cut in sorted(cuts):
        part = "".join(pieces[start:cut])
        conversation += [Said(Role.ASSISTANT, part), Said(Role.USER, "continue")]
        if len(part.strip()) < 12 or LONG.count(part.strip()) > 1:
            return  # too little to be recognised; see the next test
        rest = answer(tuple(conversation), None)
        assert isinstance(rest, Reply)
        assert part + "".join(rest.pieces) == "".join(pieces[start:])
        start = cut


def test_nothing_to_continue_is_said() -> None:
    for part in ("", "# A", "Something else that was said", LONG):
        said = (Said(Role.USER, "long"), Said(Role.ASSISTANT, part), Said(Role.USER, "continue"))
        reply = answer(said, None)
        assert isinstance(reply, Reply)
        assert "".join(reply.pieces) == texts.NOTHING_TO_CONTINUE


def test_a_conversation_that_ends_with_a_part_is_continued() -> None:
    part = f"{SEEN} you hung up.\n\n{LONG[:500]}"
    reply = answer((Said(Role.USER, "long"), Said(Role.ASSISTANT, part)), None)
    assert isinstance(reply, Reply)
    assert LONG[:500].rstrip() + "".join(reply.pieces) == LONG


# -- what it sees --


def test_a_stop_in_a_reply_is_seen_and_told_once(demo: DemoServer, hang_ups: SimpleQueue[Progress]) -> None:
    with connect(demo, body("long")) as connection:
        read_until(connection, b"caesura")
    seen = hang_ups.get(timeout=DEADLINE_S)
    assert seen.moment is Moment.TALKING
    assert 0 < seen.words_sent < seen.words_in_all == len(pieces_of(LONG))
    assert hang_ups.empty()
    assert text_of(ask(demo, "hello")).startswith(describe_hang_up(seen))
    assert text_of(ask(demo, "hello")).startswith("# Welcome")


@pytest.mark.parametrize(
    ("word", "mark", "moment"),
    [
        ("silent", None, Moment.BEFORE_HEADERS),
        ("stall", b'" my"', Moment.STALLED),
        ("fast", b"piece 0001", Moment.TALKING),
    ],
)
def test_a_stop_is_seen_in_every_phase(
    demo: DemoServer, hang_ups: SimpleQueue[Progress], word: str, mark: bytes | None, moment: Moment
) -> None:
    with connect(demo, body(word)) as connection:
        if mark is not None:
            read_until(connection, mark)
    seen = hang_ups.get(timeout=DEADLINE_S)
    assert seen.moment is moment
    assert SEEN in describe_hang_up(seen)


def test_a_reset_is_a_hang_up_too(demo: DemoServer, hang_ups: SimpleQueue[Progress]) -> None:
    connection = connect(demo, body("long"))
    read_until(connection, b"caesura")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    assert hang_ups.get(timeout=DEADLINE_S).moment is Moment.TALKING


def test_a_reply_that_was_read_to_its_end_is_no_hang_up(
    demo: DemoServer, hang_ups: SimpleQueue[Progress]
) -> None:
    ask(demo, "hello")
    assert hang_ups.empty()


# -- misbehaviour on request, and of others --


def test_an_error_on_request(demo: DemoServer) -> None:
    reply = post(demo, body("error"))
    assert reply.status_code == 500
    assert reply.json()["error"]["message"] == texts.FAILURE


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_has_no_end_mark(demo: DemoServer, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        post(demo, body("cut", stream=stream))


def raw(demo: DemoServer, request: bytes) -> bytes:
    port = httpx.URL(demo.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answered = b""
        while data := connection.recv(65536):
            answered += data
        return answered


CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"


def test_it_lists_its_model(demo: DemoServer) -> None:
    answer = httpx.get(f"{demo.url}/models", timeout=60)
    assert [each["id"] for each in answer.json()["data"]] == ["demo"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/engines HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/chat/completions HTTP/1.1\r\n\r\n", 405),
        (CHAT + b"\r\n", 411),
        (CHAT + b"Content-Length: -1\r\n\r\n", 411),
        (CHAT + b"Content-Length: 99999999999\r\n\r\n", 413),
        (CHAT + b"Content-Length: 4\r\n\r\nnope", 400),
        (CHAT + b"Content-Length: 2\r\n\r\n[]", 400),
        (CHAT + b'Content-Length: 17\r\n\r\n{"messages": [7]}', 400),
        (CHAT + b"X: " + b"x" * 200_000 + b"\r\n\r\n", 431),
        (b"\xff\xfe\x00\r\n\r\n", 404),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_requests_get_an_answer_and_do_no_harm(
    demo: DemoServer, request_bytes: bytes, status: int
) -> None:
    assert raw(demo, request_bytes).startswith(f"HTTP/1.1 {status} ".encode())
    assert text_of(ask(demo, "think")) == texts.THOUGHTS_SHOWN


@pytest.mark.parametrize("request_bytes", [b"", b"POST", CHAT + b"Content-Length: 10\r\n\r\n{"])
def test_a_request_that_breaks_off_is_let_go(
    demo: DemoServer, hang_ups: SimpleQueue[Progress], request_bytes: bytes
) -> None:
    assert raw(demo, request_bytes) == b""
    assert hang_ups.empty()


# -- its life --


def test_closing_ends_open_connections_and_the_thread() -> None:
    demo = DemoServer().start()
    # In this order: once the second is answered, the first was accepted.
    with connect(demo, body("silent")) as silent, connect(demo, body("stall")) as stalled:
        read_until(stalled, b"HTTP/1.1 200")
        demo.close()
        demo.close()
        while stalled.recv(65536):
            pass
        assert silent.recv(1) == b""
    assert not any(thread.name == "demo model" for thread in threading.enumerate())
    with pytest.raises(httpx.ConnectError):
        post(demo, body("hello"))


def test_one_that_never_started_can_be_closed() -> None:
    DemoServer().close()
