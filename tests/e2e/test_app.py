"""The screen as a person uses it: typing, scrolling, selecting, resizing, and what must not get there."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import pytest

from tests.servers.script import Script
from tests.support.program import ENDLESS, PROGRAM, environment, running, talk_to
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.openai import OpenAIServer
    from tests.support.program import Caesura

CHUNKS = 6_000
NUMBER = re.compile(r"\b\d{5}\b")
FLOOD = Script(text=tuple(f"{number:05} " for number in range(CHUNKS)))
DELUGE = Script(text=tuple(f"{number:05} " * 150 for number in range(20_000)))
"""More than can be drawn as fast as it comes, so that there is a backlog."""

LINES = Script(text=("".join(f"- line {number}\n" for number in range(100)),))


def ping(app: Caesura) -> None:
    """A round trip through the event loop: a character is typed, seen, and taken back."""
    app.terminal.type("~")
    app.wait_composer("~")
    app.terminal.press("end", "ctrl+u")
    app.wait_composer("Ask anything")


def number_on(screen: list[str], number: int) -> bool:
    return any(f"{number:05}" in line for line in screen)


def numbers_on(app: Caesura) -> set[int]:
    return {int(number) for row in app.transcript for number in NUMBER.findall(row)}


# What is seen first, and typed


def test_the_first_frame_says_what_it_is_and_what_to_do(app: Caesura) -> None:
    assert app.terminal.screen[0].strip().startswith("Caesura")
    assert "Ask anything. Enter sends" in app.terminal.text
    assert app.status.startswith("idle  Esc unused")
    assert "openai/gpt-4o" in app.status


@pytest.mark.promise("U4")
def test_a_reply_is_shown_to_its_end_and_the_session_is_idle(app: Caesura, server: OpenAIServer) -> None:
    app.ask(server, "hello", Script(text=("Hello, ", "**world**", ".\n\n", "Goodbye."), delay=0.01))
    app.wait_block("Goodbye.")
    assert "Hello, world." in app.transcript
    assert app.status.startswith("idle")


def test_up_brings_earlier_prompts_back(app: Caesura, server: OpenAIServer) -> None:
    for prompt in ("the first question", "the second question"):
        app.ask(server, prompt, Script(text=("An answer.",)))
        app.wait_block("An answer.")
    app.terminal.type("draft")
    app.terminal.press("up")
    app.wait_composer("the second question")
    app.terminal.press("up")
    app.wait_composer("the first question")
    app.terminal.press("down", "down")
    app.wait_composer("draft")


def test_a_prompt_of_several_lines_and_a_paste_are_sent_as_they_are(
    app: Caesura, server: OpenAIServer
) -> None:
    server.script = Script(text=("Read.",))
    seen = len(server.exchanges)
    app.terminal.type("one")
    app.terminal.press("ctrl+j")
    app.terminal.type("two ")
    app.terminal.paste("pasted\nlines\n")
    app.terminal.type("the end\n")
    exchange = server.wait_request(seen + 1)
    assert exchange.request.body["messages"][-1]["content"] == "one\ntwo pasted\nlines\nthe end"
    app.wait_block("Read.")


# Moving about


def test_the_transcript_scrolls_with_keys_and_wheel(app: Caesura, server: OpenAIServer) -> None:
    app.send(server, "lines", LINES)
    app.wait_block("• line 99")
    app.terminal.press("home")
    app.terminal.wait_for("Caesura")
    app.wait_for(lambda screen: "line 99" not in "".join(screen))
    app.terminal.press("end")
    app.terminal.wait_for("line 99")
    app.terminal.press("pageup")
    app.wait_for(lambda screen: "line 99" not in "".join(screen) and "line 7" in "".join(screen))
    app.terminal.press("pagedown")
    app.terminal.wait_for("line 99")
    app.terminal.mouse_wheel(10, 10, notches=-3)
    app.wait_for(lambda screen: "line 99" not in "".join(screen))
    app.terminal.mouse_wheel(10, 10, notches=5)
    app.terminal.wait_for("line 99")


def test_what_comes_while_one_reads_above_is_announced_and_a_click_goes_there(
    app: Caesura, server: OpenAIServer
) -> None:
    app.send(server, "lines", LINES)
    app.wait_block("• line 99")
    exchange = app.send(server, "more", Script(text=("- more\n",), endless=True, delay=0.02))
    app.terminal.wait_for("• more")
    app.terminal.press("pageup", "pageup")
    app.wait_for(lambda screen: re.search(r"↓ \d+ new", "\n".join(screen)) is not None)
    top = app.transcript[0]
    assert not any("more" in row for row in app.transcript)
    server.wait_deltas(exchange, exchange.deltas_sent + 5)
    ping(app)
    assert app.transcript[0] == top
    row = next(row for row, line in enumerate(app.terminal.screen) if " new " in line)
    app.terminal.mouse_click(app.terminal.screen[row].index(" new "), row)
    app.wait_for(lambda screen: "• more" in "\n".join(screen) and " new " not in "\n".join(screen))
    app.terminal.press("escape")
    app.wait_stopped()


@pytest.mark.promise("E2")
def test_a_selection_with_the_mouse_is_copied_and_stops_nothing(app: Caesura, server: OpenAIServer) -> None:
    app.ask(server, "quote", Script(text=("The quick brown fox jumps.",)))
    app.wait_block("The quick brown fox jumps.")
    app.stream(server, "talk on")
    row = next(row for row, line in enumerate(app.terminal.screen) if "brown fox" in line)
    column = app.terminal.screen[row].index("quick")
    start = len(app.terminal.raw)
    app.terminal.mouse_drag((column, row), (column + len("quick brown") - 1, row))
    # Ctrl+Shift+C as only the kitty protocol can spell it.
    app.terminal.write(b"\x1b[99;6u")
    wanted = b"\x1b]52;c;" + base64.b64encode(b"quick brown")
    app.terminal.wait_for_output(wanted, after=start)
    assert "running" in app.status
    app.terminal.press("escape")
    app.wait_stopped()


# Sizes


@pytest.mark.promise("E1")
def test_a_reply_streams_on_through_every_change_of_size(app: Caesura, server: OpenAIServer) -> None:
    app.send(server, "resize", Script(text=("word " * 10 + "\n\n",), endless=True, delay=0.01))
    for columns, lines in ((140, 45), (80, 24), (20, 5), (4, 2), (140, 45)):
        app.terminal.resize(columns, lines)
        start = len(app.terminal.raw)
        if columns >= 20:
            app.wait_for(lambda screen: "running" in screen[-1] and "word" in "".join(screen))
        else:
            app.terminal.wait_for_output(b"\x1b", after=start)
    app.wait_for(lambda screen: sum("word " * 9 in line for line in screen) >= 20)
    app.terminal.press("escape")
    app.wait_stopped()
    app.terminal.resize(80, 24)
    app.wait_status("idle")


@pytest.mark.promise("E1", "P1")
def test_a_terminal_of_20_by_5_is_enough(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = ENDLESS
    with running(tmp_path, *talk_to(server), columns=20, lines=5) as app:
        app.terminal.type("go\n")
        exchange = server.wait_request(len(server.exchanges) + 1)
        app.terminal.wait_for("word word")
        assert app.status.endswith("running  Esc stops")
        app.terminal.press("escape")
        server.wait_closed(exchange)
        app.terminal.wait_for("edits the")
        assert app.status.startswith("idle  Esc unused")
        app.terminal.press("ctrl+q")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.unrestored() == []


def test_a_terminal_that_can_draw_nothing_is_refused(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"TERM": "dumb"}
    with Terminal([*PROGRAM, "--demo"], env=env) as terminal:
        assert terminal.wait_exit() == 2
        assert "".join(terminal.screen).strip() == (
            "caesura: this terminal cannot show a screen (TERM is dumb): start Caesura in another one, "
            'or use `caesura run "prompt"`.'
        )


# Floods


@pytest.mark.promise("E10", "P2")
def test_a_backlog_does_not_outlive_a_stop(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.send(server, "flood", DELUGE)
    app.wait_for(lambda screen: NUMBER.search("".join(screen)) is not None)
    server.wait_deltas(exchange, exchange.deltas_sent + 2000)
    app.terminal.press("escape")
    server.wait_closed(exchange)
    assert app.wait_stopped() == "connection closed. /continue goes on, Esc Esc edits the prompt."
    assert not number_on(app.terminal.screen, len(DELUGE.text) - 1)
    after, shown = len(app.terminal.raw), app.transcript
    for _ in range(10):
        ping(app)
    assert app.transcript == shown
    painted = b"".join(arrival.data for arrival in app.terminal.raw[after:])
    assert re.search(rb"\d{5} \d{5}", painted) is None
    # A fast machine has got more than the model takes: what comes next needs another session.
    app.terminal.type("/new\n")
    app.wait_for(lambda screen: "idle" in screen[-1] and NUMBER.search("".join(screen)) is None)


@pytest.mark.promise("E10")
def test_a_flood_that_is_let_run_arrives_whole(app: Caesura, server: OpenAIServer) -> None:
    exchange = app.send(server, "flood", FLOOD)
    app.wait_for(lambda screen: "idle" in screen[-1] and number_on(screen, CHUNKS - 1), timeout=120)
    assert exchange.completed_at is not None
    app.terminal.resize(200, 120)
    app.wait_for(lambda screen: "idle" in screen[-1] and number_on(screen, CHUNKS - 1))
    found = numbers_on(app)
    while 0 not in found:
        top = app.transcript[0]
        app.terminal.press("pageup")
        app.wait_for(lambda screen, top=top: not screen[1].startswith(f" {top}"))  # type: ignore[misc]
        ping(app)
        # Nothing has come since, and nothing is skipped.
        assert not any(" new " in row for row in app.transcript)
        found |= numbers_on(app)
    assert set(range(CHUNKS)) - found == set()
    app.terminal.press("end")
    app.terminal.resize(80, 24)
    app.wait_status("idle")


# What must not reach the terminal

EVIL = (
    "\x1b]52;c;Y2Flc3VyYS1ldmls\x07", "\x1b]0;evil title\x07", "\x1b[1337;42z", "\x1b[31;5mred\x1b[?1049l",
    "\x1bP+q4576696c\x1b\\", "\x1b_Gevil\x1b\\", "\x1bc", "\x9b1337z", "\x9d0;evil\x9c", "\x90evil\x9c",
    "\u202eevil\u202c\u2066evil\u2069\u200f", "\x07\x08\x0e\x0f\x7f", "\ufeff\u200b",
    "[@click=app.quit]click[/]", "[bold red on white]markup[/]",
    "[x](file:///etc/passwd) [y](javascript:alert) [z](http://e.vil/\x1b]52;c;Y2Flc3VyYS1ldmls\x07)",
)  # fmt: skip
FORBIDDEN = (
    b"Y2Flc3VyYS1ldmls\x07", b"\x1b]0;evil", b"\x1b[1337", b"\x1b[31;5m", b"\x1bP+q4576", b"\x1b_G", b"\x1bc",
    "\x9b".encode(), "\x9d".encode(), "\x90".encode(), "\x9c".encode(), b"\x07\x08", b"\x0e", b"\x7f",
    "\u202e".encode(), "\u2066".encode(), "\u200f".encode(), "\u200b".encode(), "\ufeff".encode(),
    b"8;;file", b"8;;javascript", b"file:///etc/passwd\x1b\\",
)  # fmt: skip


def test_no_text_of_a_model_becomes_a_control_sequence(app: Caesura, server: OpenAIServer) -> None:
    line = " ".join(EVIL)
    document = "\n\n".join(
        (line, f"# {line}", f"- {line}", f"> {line}", f"```\n{line}\n```", f"```{EVIL[0]}\nx\n```",
         f"`{line}`", f"| {EVIL[0]} | {EVIL[2]} |\n|---|---|\n| {EVIL[7]} | {EVIL[10]} |", "Over.")
    )  # fmt: skip
    start = len(app.terminal.raw)
    # One character at a time as well, so that no sequence is whole in any piece.
    app.send(server, "evil", Script(reasoning=tuple(line), text=(document, *line, "\n\nThe end.")))
    app.wait_block("The end.")
    app.terminal.press("ctrl+r")
    for key in ("home", "pagedown", "pagedown", "end"):
        app.terminal.press(key)
        ping(app)
    output = b"".join(arrival.data for arrival in app.terminal.raw[start:])
    assert [bytes_ for bytes_ in FORBIDDEN if bytes_ in output] == []
    assert "␛]52;c;Y2Flc3VyYS1ldmls" in output.decode()
    assert "[@click=app.quit]click[/]" in output.decode()
    assert all("evil" not in title for title in app.terminal.titles)
