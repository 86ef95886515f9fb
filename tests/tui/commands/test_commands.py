"""What each command does with the screen and the session."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from core.model.messages import AssistantMessage, Step, Text, ToolCall, UserMessage
from core.model.provider import Effort
from tests.tui.commands.stage import PlayedScreen
from tui.commands.sessions import INIT_PROMPT
from tui.commands.slash import SlashCommandError
from tui.commands.table import COMMANDS
from tui.pane.sessions import SessionFiles

if TYPE_CHECKING:
    from tests.tui.stage import Stage


def do(screen: Any, line: str) -> None:
    typed = COMMANDS.read(line)
    assert typed is not None
    typed.run(screen)


@pytest.fixture
def screen() -> PlayedScreen:
    return PlayedScreen()


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("/model", ("show_models",)),
        ("/model openai/gpt-5.1", ("use_model", "openai/gpt-5.1")),
        ("/theme", ("show_themes",)),
        ("/theme sixteen", ("use_theme", "sixteen")),
        ("/doctor", ("show_doctor",)),
        ("/help", ("show_help",)),
        ("/trust", ("trust_project", "")),
        ("/trust off", ("trust_project", "off")),
        ("/exit", ("quit",)),
        ("/quit", ("quit",)),
        ("/sessions", ("show_sessions",)),
        ("/resume", ("show_sessions",)),
        ("/memory", ("show_memory",)),
        ("/rewind", ("show_rewind",)),
        ("/running", ("show_running",)),
        ("/kill", ("kill",)),
    ],
)
def test_what_the_screen_is_asked_for(screen: PlayedScreen, line: str, asked: tuple[str, ...]) -> None:
    do(screen, line)
    assert screen.asked == [asked]


def test_trust_tells_how_it_is_taken_back() -> None:
    trust = COMMANDS.by_name["trust"]
    assert trust.choices(PlayedScreen()) == ("off",)
    assert "/trust [off]" in trust.usage
    assert "/trust off" in trust.details


async def test_a_server_is_restarted_by_name(screen: PlayedScreen, stage: Stage) -> None:
    screen.session = stage.session
    assert COMMANDS.by_name["mcp"].choices(screen) == ("restart files", "restart search")
    do(screen, "/mcp")
    assert screen.told == ["There are no tools in this session."]
    do(screen, "/mcp restart files")
    await asyncio.gather(*screen.works)
    assert screen.told[-1] == "files was started again."
    for line in ("/mcp restart", "/mcp restart a b", "/mcp stop files"):
        with pytest.raises(SlashCommandError, match="/mcp restart NAME"):
            do(screen, line)


def reply(*texts: str, call: bool = False) -> Step:
    parts = (*map(Text, texts), *((ToolCall("1", "shell", "{}"),) if call else ()))
    return Step((UserMessage("why?"), AssistantMessage(parts, "openai/demo")))


STEPS = (reply("*first*"), reply(call=True), reply("second\n", "```x```"), reply("  "))


@pytest.mark.parametrize(
    ("line", "copied", "said"),
    [
        ("/copy", "second\n```x```", "The last reply, 14 characters, was sent"),
        ("/copy 2", "*first*", "Reply 2 from the end, 7 characters, was sent"),
    ],
)
def test_a_reply_is_copied_as_markdown(screen: PlayedScreen, line: str, copied: str, said: str) -> None:
    screen.session = SimpleNamespace(record=SimpleNamespace(plain_steps=STEPS))  # type: ignore[assignment]
    do(screen, line)
    assert screen.asked == [("copy_text", copied)]
    assert screen.told[0].startswith(said)
    assert "OSC 52" in screen.told[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [("/copy 3", "there are 2"), ("/copy that", "a number is needed"), ("/copy 0", "a number is needed")],
)
def test_a_reply_that_is_not_there_is_not_copied(screen: PlayedScreen, line: str, said: str) -> None:
    screen.session = SimpleNamespace(record=SimpleNamespace(plain_steps=STEPS))  # type: ignore[assignment]
    with pytest.raises(SlashCommandError, match=said):
        do(screen, line)
    screen.session = SimpleNamespace(record=SimpleNamespace(plain_steps=()))  # type: ignore[assignment]
    with pytest.raises(SlashCommandError, match="nothing was said yet"):
        do(screen, "/copy")
    assert screen.asked == []


def effort_of(stage: Stage) -> Effort | None:
    return stage.session.model.choice.parameters.effort


async def test_the_effort_is_told_chosen_and_given_back(screen: PlayedScreen, stage: Stage) -> None:
    screen.session = stage.session
    do(screen, "/effort")
    assert screen.told[-1].startswith("The effort is default.")
    do(screen, "/effort High")
    assert effort_of(stage) is Effort.HIGH
    assert screen.told[-1] == "The effort is high from the next prompt on."
    do(screen, "/effort default")
    assert effort_of(stage) is None
    with pytest.raises(SlashCommandError, match="did you mean medium"):
        do(screen, "/effort medum")


async def test_init_asks_the_model_and_cost_and_status_answer(screen: PlayedScreen, stage: Stage) -> None:
    screen.session = stage.session
    do(screen, "/cost")
    assert screen.told[-1].startswith("Nothing was used yet.")
    do(screen, "/init")
    await stage.model.asked()
    prompt = stage.model.requests[0].messages[0]
    assert isinstance(prompt, UserMessage)
    assert prompt.text == INIT_PROMPT
    assert "AGENTS.md" in prompt.text
    stage.model.say("done")
    stage.model.finish()
    await stage.until(lambda: stage.session.record.plain_steps)
    do(screen, "/cost")
    assert "15,020" in screen.told[-1]
    do(screen, "/status")
    await asyncio.gather(*screen.works)
    assert "/work/.caesura.toml" in screen.told[-1]
    assert "openai/demo" in screen.told[-1]


async def test_clear_keeps_what_was_said_and_says_how_to_go_back(screen: PlayedScreen, stage: Stage) -> None:
    screen.session = stage.session
    screen.session_files = SessionFiles(stage.session, None, screen)
    do(screen, "/clear")
    assert screen.asked == [("open_session", "")]
    await stage.ask("hello")
    stage.model.say("hi")
    stage.model.finish()
    await stage.until(lambda: stage.session.record.plain_steps and stage.session.status == "idle")
    do(screen, "/clear")
    told = screen.asked[-1][2]
    assert told.startswith(f"/resume {stage.session.session_id[:8]}, or /sessions, goes back")
