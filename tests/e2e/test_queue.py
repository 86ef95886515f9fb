"""Queued prompts in a real terminal: stop-and-send, whatever that terminal does to Ctrl+S."""

from __future__ import annotations

import termios
from typing import TYPE_CHECKING

import pytest

from tests.servers.script import Script, in_turn

if TYPE_CHECKING:
    from tests.servers.openai import OpenAIServer
    from tests.support.program import Caesura


@pytest.mark.promise("E8", "P1")
def test_ctrl_s_closes_the_socket_and_sends_what_is_written_before_the_queue(
    app: Caesura, server: OpenAIServer
) -> None:
    exchange = app.stream(server, "tell me")
    # The terminal keeps neither Ctrl+S nor Ctrl+Q for itself.
    assert not termios.tcgetattr(app.terminal._slave)[0] & (termios.IXON | termios.IXOFF)
    app.terminal.type("later\n")
    app.wait_status("1 queued")
    seen = len(server.exchanges)
    server.script = in_turn(Script(text=("It came.",)), Script(text=("That too.",)))
    app.terminal.type("now")
    app.wait_status("Ctrl+S stops and sends")
    app.terminal.press("ctrl+s")
    server.wait_closed(exchange)
    assert exchange.closed_by_peer
    app.wait_block("It came.")
    app.wait_status("idle · 1 queued: Ctrl+G sends")
    assert len(server.exchanges) == seen + 1
    app.terminal.press("ctrl+g")
    app.wait_block("That too.")
    said = [each.request.body["messages"][-1]["content"] for each in server.exchanges[seen:]]
    assert [text.rpartition("\n\n")[2] for text in said] == ["now", "later"]


@pytest.mark.promise("E8", "E1")
def test_a_queued_prompt_is_edited_removed_and_brought_back(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.stream(server, "tell me")
    for text in ("first", "second"):
        app.terminal.type(f"{text}\n")
    app.wait_status("2 queued")
    app.terminal.press("tab", "down", "x")
    app.terminal.wait_for("/undrop undoes")
    app.terminal.press("ctrl+z")
    app.wait_status("2 queued")
    # What has come back is selected only once it is shown.
    app.terminal.press("down")
    app.wait_for(lambda screen: any("▸" in line and line.rstrip().endswith("second") for line in screen))
    app.terminal.press("enter")
    app.terminal.wait_for("Queued prompt")
    app.terminal.type("!\n")
    app.terminal.wait_for("second!")
    assert not exchange.closed_by_peer
    app.terminal.press("escape")
    app.wait_status("Esc stops")
    app.terminal.press("escape")
    server.wait_closed(exchange)
    app.wait_status("2 queued: Ctrl+G sends")
