"""Esc and Ctrl+C on a running turn: key bytes in, a server that sees its socket close, words on a screen."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.servers.script import Script, Silence, Stall, in_turn
from tests.support.live_processes import descendants, streamer_of
from tests.support.program import ENDLESS
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.servers.openai import OpenAIServer
    from tests.support.program import Caesura

CLOSED = "connection closed. /continue goes on, Esc Esc edits the prompt."
CLOSED_AND_BACK = "connection closed. Your prompt is back below."


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kitty"])
def kitty(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.mark.promise("E1", "E6", "P1", "P2", "H2", "U4")
def test_esc_in_the_middle_of_a_reply_closes_the_socket_and_says_so(
    app: Caesura, server: OpenAIServer
) -> None:
    exchange = app.stream(server, "tell me")
    assert "running" in app.status
    assert "Esc stops" in app.status
    app.terminal.press("escape")
    server.wait_closed(exchange)
    assert exchange.closed_by_peer
    assert app.wait_stopped() == CLOSED
    assert "Esc unused" in app.status
    assert "┄ interrupted" in app.transcript

    follow_up = app.ask(server, "and then", Script(text=("Then it ended.",)))
    app.wait_block("Then it ended.")
    prompt, reply, question = follow_up.request.body["messages"][-3:]
    assert prompt == {"role": "user", "content": "tell me"}
    assert reply["role"] == "assistant"
    assert reply["content"].startswith("word word")
    assert "stopped" in question["content"]
    assert question["content"].endswith("and then")


@pytest.mark.promise("U2", "P2", "E1")
def test_three_turns_in_a_row_are_each_stopped(app: Caesura, server: OpenAIServer) -> None:
    for turn in ("one", "two", "three"):
        exchange = app.stream(server, f"turn {turn}")
        app.terminal.press("escape")
        server.wait_closed(exchange)
        assert app.wait_stopped() == CLOSED


@pytest.mark.promise("P2")
def test_esc_stops_a_reply_that_has_stalled(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.ask(server, "stall", Script(text=("a beginning",) * 5, fault=Stall(after=3)))
    app.terminal.wait_for("a beginninga beginninga beginning")
    app.terminal.press("escape")
    server.wait_closed(exchange)
    assert app.wait_stopped() == CLOSED


@pytest.mark.promise("H1", "P2", "E1")
def test_esc_before_headers_gives_the_prompt_back(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.ask(server, "never answered", Script(fault=Silence()))
    assert app.composer == ""
    app.terminal.press("escape")
    server.wait_closed(exchange)
    assert app.wait_stopped() == CLOSED_AND_BACK
    assert app.composer == "never answered"
    assert "❯ never answered" not in app.transcript

    again = app.ask(server, " after all", Script(text=("Here it is.",)))
    app.wait_block("Here it is.")
    assert again.request.body["messages"][-1]["content"].endswith("never answered after all")
    assert "never answered" not in [message["content"] for message in again.request.body["messages"]]


@pytest.mark.promise("H1", "E1")
def test_a_prompt_never_comes_back_over_a_draft(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.ask(server, "unanswered", Script(fault=Silence()))
    app.terminal.type("a draft")
    app.wait_composer("a draft")
    app.terminal.press("escape")
    server.wait_closed(exchange)
    assert app.wait_stopped() == "connection closed. Up brings the prompt back, /continue sends it again."
    assert app.composer == "a draft"


@pytest.mark.promise("U1")
def test_esc_in_the_gap_after_enter_stops_that_turn(app: Caesura, server: OpenAIServer) -> None:
    app.ask(server, "before", Script(text=("A reply.",)))
    app.wait_block("A reply.")
    server.script = ENDLESS
    seen = len(server.exchanges)
    app.terminal.press(*"gap", "enter", "escape")
    rest = app.wait_stopped()
    assert rest in ("nothing had been sent. Your prompt is back below.", CLOSED_AND_BACK, CLOSED)
    for exchange in server.exchanges[seen:]:
        server.wait_closed(exchange)

    app.settle(server)
    app.ask(server, "afterwards", Script(text=("Works.",)))
    app.wait_block("Works.")


@pytest.mark.promise("U2", "E1")
def test_esc_while_idle_changes_nothing_and_spares_the_next_turn(app: Caesura, server: OpenAIServer) -> None:
    app.ask(server, "first", Script(text=("First reply.",)))
    app.wait_block("First reply.")
    app.terminal.type("a draft")
    app.wait_composer("a draft")
    before = app.transcript
    # An arrow behind it makes it Esc and not Alt, whatever is read at once.
    app.terminal.press("escape", "right", "escape", "right")
    app.terminal.type("!")
    app.wait_composer("a draft!")
    assert app.transcript == before

    exchange = app.ask(server, "", Script(text=("Second reply.",)))
    app.wait_block("Second reply.")
    assert exchange.request.body["messages"][-1]["content"] == "a draft!"
    assert exchange.completed_at is not None


@pytest.mark.promise("E1")
def test_esc_never_clears_a_draft(app: Caesura, server: OpenAIServer) -> None:
    app.stream(server, "talk")
    app.terminal.type("what I wanted to ask next")
    app.wait_composer("ask next")
    app.terminal.press("escape")
    assert app.wait_stopped() == CLOSED
    app.terminal.press("escape", "right")
    app.terminal.type(".")
    app.wait_composer("ask next.")
    assert app.composer == "what I wanted to ask next."


@pytest.mark.promise("E5", "E1")
def test_esc_and_a_letter_in_one_read_are_a_stop_and_a_letter(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.stream(server, "talk")
    app.terminal.press("escape", "x")
    server.wait_closed(exchange)
    assert app.wait_stopped() == CLOSED
    app.wait_composer("x")


@pytest.mark.promise("U3")
def test_a_second_prompt_waits_for_the_end_of_the_first(app: Caesura, server: OpenAIServer) -> None:
    waiting = Script(text=("First done.",), fault=Stall(after=1))
    first = app.ask(server, "first in line", in_turn(waiting, Script(text=("Second done.",))))
    seen = len(server.exchanges)
    app.terminal.type("second in line\n")
    app.wait_status("1 queued")
    assert len(server.exchanges) == seen
    assert "❯ second in line" not in app.transcript
    server.release(first)
    app.wait_block("Second done.")
    second = server.wait_request(seen + 1)
    assert second.received_at > (first.completed_at or float("inf"))
    assert "queued" not in app.status


def test_a_stop_pauses_the_queue_until_it_is_sent_or_dropped(app: Caesura, server: OpenAIServer) -> None:
    for command in ("/send", "/drop"):
        app.stream(server, "talk")
        server.script = Script(text=("It came.",))
        seen = len(server.exchanges)
        app.terminal.type("later\n")
        app.wait_status("1 queued")
        app.terminal.press("escape")
        assert app.wait_stopped() == CLOSED
        assert "1 queued: Ctrl+G sends" in app.status
        assert len(server.exchanges) == seen
        app.terminal.type(f"{command}\n")
        if command == "/send":
            app.wait_block("It came.")
            assert server.exchanges[seen].request.body["messages"][-1]["content"].endswith("later")
        app.wait_for(lambda screen: "queued" not in screen[-1])
        assert len(server.exchanges) == seen + (command == "/send")


@pytest.mark.promise("H9", "H2")
def test_continue_goes_on_with_what_was_stopped(app: Caesura, server: OpenAIServer) -> None:
    app.stream(server, "a long story")
    app.terminal.press("escape")
    assert app.wait_stopped() == CLOSED
    exchange = app.ask(server, "/continue", Script(text=("and they lived.",)))
    app.wait_block("and they lived.")
    said = [message["content"] for message in exchange.request.body["messages"]]
    assert said[-3].endswith("a long story")
    assert said[-2].startswith("word word")

    app.terminal.type("/continue\n")
    app.wait_block("There is nothing to continue")


@pytest.mark.promise("E2")
def test_ctrl_c_stops_a_running_turn_and_leaves_the_draft(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.stream(server, "talk")
    app.terminal.type("a draft")
    app.wait_composer("a draft")
    app.terminal.press("ctrl+c")
    server.wait_closed(exchange)
    assert app.wait_stopped("Ctrl+C") == CLOSED
    # Pressed once more for the same turn, it is no request to clear.
    assert app.composer == "a draft"


@pytest.mark.promise("Q1")
def test_sigint_stops_a_running_turn_like_the_key(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.stream(server, "talk")
    app.terminal.signal(signal.SIGINT)
    server.wait_closed(exchange)
    assert app.wait_stopped("SIGINT") == CLOSED
    assert app.terminal.exit_code is None


@pytest.mark.promise("P4", "E6")
@pytest.mark.parametrize("kitty", [False], indirect=True, ids=["plain"], scope="module")
def test_a_model_process_that_does_not_answer_is_killed(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.stream(server, "talk")
    model_process = streamer_of(app.terminal.pid)
    os.kill(model_process, signal.SIGSTOP)
    start = len(app.terminal.raw)
    app.terminal.press("escape")
    app.terminal.wait_for_output(b"stopping", after=start)
    server.wait_closed(exchange)
    rest = app.wait_stopped()
    assert rest.startswith("the model process did not answer and was killed, its connection with it.")
    wait_until(lambda: model_process not in descendants(app.terminal.pid), what="the end of the process")

    app.ask(server, "next", Script(text=("It works again.",)))
    app.wait_block("It works again.")
