"""The errors a new user meets: one sentence that says what to do, and a session that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import (
    Cut,
    ErrorEvent,
    Fault,
    Garbage,
    Oversized,
    Refusal,
    Refuse,
    Reset,
    Script,
    Truncate,
)
from tests.support.program import MODEL, Caesura, running, talk_to

if TYPE_CHECKING:
    from pathlib import Path

ANOTHER = "choose another model with /model or --model."
OVERLOADED = f" is overloaded at the moment: send the prompt again in a minute, or {ANOTHER}"
BACK = "Your prompt is back below."
KEPT = "What had arrived is kept"

REFUSED: list[tuple[Fault, str]] = [
    (Refuse(Refusal.WRONG_KEY), "refused the key: store another one with `caesura keys set openai`"),
    (Refuse(Refusal.UNKNOWN_MODEL), f"does not know {MODEL}: check the spelling, or {ANOTHER}"),
    (Refuse(Refusal.CONTEXT_TOO_LONG), f"is too long for {MODEL}, and compacting it makes no more room."),
    (Refuse(Refusal.RATE_LIMITED, retry_after=7), "wait 7 s, then send the prompt again."),
    (Refuse(Refusal.SERVER_ERROR), f"failed on its side (500): send the prompt again, or {ANOTHER}"),
    (Refuse(Refusal.OVERLOADED), OVERLOADED),
    (Refuse(Refusal.OVERLOADED, status=529), OVERLOADED),
    (Garbage(), "contains what cannot be read: send the prompt again"),
    (Cut(), "broke off: send the prompt again"),
    (ErrorEvent(), OVERLOADED),
]

BROKEN: list[tuple[Fault, str, str]] = [
    (Garbage(after=2), "contains what cannot be read: send the prompt again", "┄ broken off"),
    (Cut(after=2), "broke off: send the prompt again", "┄ broken off"),
    (Truncate(after=2), "broke off: send the prompt again", "┄ broken off"),
    (Reset(after=2), "broke off: send the prompt again", "┄ broken off"),
    (ErrorEvent(after=2), OVERLOADED, "┄ failed"),
    (Oversized(after=2), "was cut because it grew too large: send the prompt again", "┄ failed"),
]


def assert_goes_on(app: Caesura, server: OpenAIServer) -> None:
    app.settle(server)
    app.ask(server, "and now?", Script(text=("Now it works.",)))
    app.wait_block("Now it works.")
    assert b"Traceback" not in app.terminal.output


@pytest.mark.promise("H1")
@pytest.mark.parametrize(("fault", "sentence"), REFUSED, ids=lambda value: type(value).__name__)
def test_a_request_that_fails_gives_the_prompt_back(
    app: Caesura, server: OpenAIServer, fault: Fault, sentence: str
) -> None:
    app.ask(server, "what is wrong", Script(text=("never",), fault=fault))
    shown = app.wait_block("✗ ")
    assert sentence in shown
    assert shown.endswith(BACK)
    app.wait_composer("what is wrong")
    assert_goes_on(app, server)


@pytest.mark.promise("H2", "P6")
@pytest.mark.parametrize(("fault", "sentence", "mark"), BROKEN, ids=lambda value: type(value).__name__)
def test_a_reply_that_breaks_is_kept_as_far_as_it_came(
    app: Caesura, server: OpenAIServer, fault: Fault, sentence: str, mark: str
) -> None:
    app.ask(server, "what is wrong", Script(text=("One ", "two ", "three."), fault=fault))
    shown = app.wait_block("✗ ")
    assert sentence in shown
    assert KEPT in shown
    assert app.composer == ""
    assert "One two" in app.transcript
    assert mark in app.transcript
    assert_goes_on(app, server)


def test_what_only_a_new_start_can_mend_is_told(tmp_path: Path) -> None:
    with running(tmp_path, "--model", MODEL, env={"OPENAI_API_KEY": None}) as app:
        for time in (1, 2):
            app.terminal.type("hello\n")
            app.wait_for(lambda screen, time=time: sum("❯ hello" in line for line in screen) == time)  # type: ignore[misc]
            shown = app.wait_block("✗ ")
            assert shown.startswith("✗ No key for OpenAI: set OPENAI_API_KEY before you start Caesura, or")
            assert shown.endswith(BACK)
            assert app.composer == "hello"
            app.terminal.press("end", "ctrl+u")
        assert b"Traceback" not in app.terminal.output


def test_a_server_that_is_not_there_and_then_is(tmp_path: Path) -> None:
    with ThreadedServer(OpenAIServer()) as gone:
        pass
    with running(tmp_path, *talk_to(gone)) as app:
        app.terminal.type("hello\n")
        shown = app.wait_block("✗ ")
        assert shown.startswith(
            f"✗ The server at {gone.url} cannot be reached: check that the server runs and that its address"
        )
        assert app.composer == "hello"
        with ThreadedServer(OpenAIServer(port=gone.port)) as server:
            assert_goes_on(app, server)


def test_a_theme_that_does_not_exist_is_told_and_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", "--theme", "nope") as app:
        shown = app.wait_block("nope")
        assert shown.startswith("✗ ")
