"""P7 from outside: how a reply ended is on the screen, in the exit code of `run`, in the file and in the next
request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from core.model.messages import FinishReason
from core.model.reply_end import ReplyEnd, note_for_model
from core.session.continuation import CONTINUE_PROMPT
from tests.e2e.test_headless import run
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, ErrorEvent, Refusal, Script, Truncate, in_turn
from tests.support.program import API_KEY, Caesura, running, talk_to

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.openai import OpenAIServer
    from tests.servers.record import Exchange

pytestmark = pytest.mark.promise("P7")

PART: Final = "Hello, world."
LIMIT: Final = "it was cut off by the output limit (max_output of the model in the settings moves it)."
FILTER: Final = "the provider has filtered or refused it."
ENDS: Final = {
    # name: script, end, exit code, its sentence, what was printed
    "cut": (Script(finish=FinishReason.LENGTH), ReplyEnd.CUT, 3, f"The reply is not complete: {LIMIT}", PART),
    "cut early": (
        Script(text=(), reasoning=("hm",), finish=FinishReason.LENGTH),
        ReplyEnd.CUT, 3, f"There is no reply: {LIMIT}", "",
    ),
    "filtered": (
        Script(finish=FinishReason.CONTENT_FILTER),
        ReplyEnd.FILTERED, 4, f"The reply is not complete: {FILTER}", PART,
    ),
    "refused": (
        Script(text=(), finish=FinishReason.CONTENT_FILTER),
        ReplyEnd.FILTERED, 4, f"There is no reply: {FILTER}", "",
    ),
    "empty": (Script(text=()), ReplyEnd.EMPTY, 5, "There is no reply: it came back empty.", ""),
    "only thought": (
        Script(text=(), reasoning=("hm",)), ReplyEnd.EMPTY, 5, "There is no reply: it came back empty.", ""
    ),
    "broken off": (Script(fault=Truncate(after=2)), ReplyEnd.BROKEN_OFF, 6, "broke off", "Hello, "),
    "failed": (
        Script(fault=ErrorEvent(2, Refusal.SERVER_ERROR)), ReplyEnd.FAILED, 1, "failed on its side", "Hello, "
    ),
}  # fmt: skip


def said(exchange: Exchange) -> list[str]:
    return [message.text for message in exchange.request.conversation.messages]


def expected(name: str, prompt: str, asked: str) -> list[str]:
    """What the model is sent after a reply to `prompt` that ended so, when it is asked this."""
    _, end, _, _, part = ENDS[name]
    note = note_for_model(end, "server error" if end is ReplyEnd.FAILED else "", above=bool(part))
    return [prompt, part, f"{note}\n\n{asked}"] if part else [f"{prompt}\n\n{note}\n\n{asked}"]


@pytest.mark.parametrize("name", ["cut", "broken off"])
def test_run_has_an_exit_code_for_it_and_the_next_run_tells_the_model(
    tmp_path: Path, server: OpenAIServer, name: str
) -> None:
    script, _, code, sentence, part = ENDS[name]
    server.script = in_turn(script, Script(text=("the rest",)))
    count = len(server.exchanges)
    with run(tmp_path, *talk_to(server), "ask") as ended:
        assert ended.rest().decode().removesuffix("\n") == part
        assert ended.wait() == code
        (told,) = ended.errors().splitlines()
        assert sentence in told
    with run(tmp_path, *talk_to(server), "--continue", "go on") as finished:
        assert finished.rest() == b"the rest\n"
        assert finished.wait() == 0
    assert said(server.exchanges[count + 1]) == expected(name, "ask", "go on")


def test_run_says_it_in_its_final_event_and_in_another_protocol(tmp_path: Path) -> None:
    protocol = PROTOCOLS["anthropic"]
    with ThreadedServer(protocol.server(Script(finish=FinishReason.LENGTH))) as server:
        options = ("--model", protocol.model, "--api-base", server.url)
        with run(tmp_path, *options, "--json", "ask", env=dict(protocol.environment)) as ended:
            event = json.loads(ended.rest())
            assert ended.wait() == 3
        assert (event["outcome"], event["end"], event["text"]) == ("error", "cut by length", PART)
        assert server.complaints == []


@pytest.mark.promise("H9")
@pytest.mark.parametrize("name", ENDS)
def test_the_screen_says_it_and_continue_goes_on(app: Caesura, server: OpenAIServer, name: str) -> None:
    script, _, _, sentence, _ = ENDS[name]
    app.ask(server, f"tell me, {name}", script)
    assert sentence in app.wait_block("✗ ")
    exchange = app.ask(server, "/continue", Script(text=(f"the rest of {name}",)))
    app.wait_block(f"the rest of {name}")
    told = expected(name, f"tell me, {name}", CONTINUE_PROMPT)
    sent = said(exchange)
    # Before that is what earlier tests have said in this session; a note of theirs may begin the prompt.
    assert sent[-len(told) :][1:] == told[1:]
    assert sent[-len(told)].endswith(told[0])


def test_a_cut_reply_is_marked_after_a_restart_too(tmp_path: Path, server: OpenAIServer) -> None:
    for options in ((), ("--continue",)):
        with running(tmp_path, *talk_to(server), *options, cwd=tmp_path) as app:
            if not options:
                app.ask(server, "tell me", Script(finish=FinishReason.LENGTH))
            block = app.wait_block("✗ The reply is not complete: it was cut off by the output limit")
            assert block.endswith("What had arrived is kept; /continue goes on from there.")
            assert "┄ cut by length" in "\n".join(app.frame())
            app.terminal.press("ctrl+q")
            assert app.terminal.wait_exit() == 0


@pytest.mark.promise("H5")
def test_run_says_that_a_call_was_cut_and_the_model_reads_it(tmp_path: Path, server: OpenAIServer) -> None:
    cut = Call("call_1", "read_file", ('{"path": ', '"a'))
    server.script = in_turn(
        Script(text=(), calls=(cut,), finish=FinishReason.LENGTH), Script(text=("I see.",))
    )
    with run(tmp_path, *talk_to(server), "look", env={"OPENAI_API_KEY": API_KEY}) as finished:
        assert finished.rest() == b"I see.\n"
        assert finished.wait() == 0
        assert "cut off by the output limit in a call, which did not run" in finished.errors()
    (result,) = server.exchanges[-1].request.conversation.messages[-1].results
    assert "cut off by the output limit" in result.text
