"""Routes on the real screen: servers that count requests, a back-off that a key ends, and who answers.

No wait here ever runs out: a key or a stop ends each of them.
"""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
import tomli_w

from tests.e2e.conftest import ConversationServer, is_of_a_job
from tests.e2e.test_headless import assert_nothing_is_left, run
from tests.e2e.tools import Panel, call, calls, last_results
from tests.servers.anthropic import AnthropicServer
from tests.servers.base import ThreadedServer
from tests.servers.script import Cut, Refusal, Refuse, Script, Silence, Stall, in_turn
from tests.support.program import ENDLESS, running
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.base import Server
    from tests.servers.record import Exchange, Request
    from tests.support.program import Caesura

AN_HOUR: Final = Script(fault=Refuse(Refusal.RATE_LIMITED, retry_after=3600))
OVERLOADED: Final = Script(fault=Refuse(Refusal.OVERLOADED))
COUNTDOWN: Final = re.compile(r"rate limited: again in (\d+) s, F5 now  Esc stops")
MOST_S: Final = 600
ESC: Final = b"\x1b"
NO_CONNECTION: Final = "no connection was open. Your prompt is back below."


class Watched(ConversationServer):
    """One that also tells of the requests that are left out of `exchanges`."""

    @property
    def asked_by_jobs(self) -> int:
        return sum(is_of_a_job(exchange.request) for exchange in super(ConversationServer, self).exchanges)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers, with a model each: `one` and `two`."""

    one: Watched
    two: Watched

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.one.exchanges), len(self.two.exchanges)

    def count(self, before: tuple[int, int]) -> tuple[int, int]:
        """How many requests each has got since."""
        return self.counts[0] - before[0], self.counts[1] - before[1]


def settings(pair: Pair) -> dict[str, Any]:
    named = {
        "one": {"model": "openai/gpt-4o", "api_base": pair.one.url},
        "two": {"model": "openai/gpt-4o-mini", "api_base": pair.two.url},
    }
    return {
        "model": "one",
        "models": named,
        "providers": {"side": {"api_base": pair.two.url}},
        # No member is left alone for longer than a request takes: each test finds both as they are.
        "routes": {
            "backup": {"fallback": ["one", "two"], "cooldown": 0.001},
            "turns": {"rotate": ["one", "two"], "cooldown": 0.001},
            "cooling": {"fallback": ["one", "two"], "cooldown": 3_600},
            "both": {"fallback": ["one", "two"], "retries": 1, "max_wait": MOST_S, "cooldown": 0.001},
        },
        "retry": {"max_wait": MOST_S},
        "jobs": {"memory": False},
    }


def write(home: Path, written: dict[str, Any]) -> None:
    folder = home / "config" / "caesura"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(tomli_w.dumps(written))


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(*(stack.enter_context(ThreadedServer(Watched())) for _ in range(2)))


@pytest.fixture(scope="module")
def shared(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    home = tmp_path_factory.mktemp("routes")
    write(home, settings(pair))
    with running(home, "--mode", "auto") as app:
        app.ask(pair.one, "first of all", Script())
        app.wait_block("Hello, world.")
        # The title, which would take a turn of a route that rotates.
        pair.one.wait_for(lambda: pair.one.asked_by_jobs == 1, GENEROUS_S)
        yield app


@pytest.fixture
def app(shared: Caesura, pair: Pair) -> Caesura:
    shared.settle(pair.one)
    pair.two.script = Script()
    return shared


def choose(app: Caesura, model: str) -> None:
    """Have `model` answer from the next prompt on."""
    app.terminal.type(f"/model {model}\n")
    app.wait_for(lambda screen: re.search(rf"(ask|auto) · {model}( |$)", screen[-1]) is not None)


def seconds_left(app: Caesura, *, below: int = MOST_S + 1) -> int:
    """Wait until the countdown shows less than `below` seconds; how many."""
    shown = below

    def counts(screen: list[str]) -> bool:
        nonlocal shown
        found = COUNTDOWN.search(screen[-1])
        shown = int(found[1]) if found is not None else below
        return shown < below

    app.wait_for(counts)
    return shown


def contents(exchange: Exchange) -> list[str]:
    return [message.text for message in exchange.request.conversation.messages]


@pytest.mark.promise("R2", "E1", "E6")
def test_a_wait_of_an_hour_is_capped_counted_down_and_ended_by_a_key(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    before = pair.counts
    app.ask(pair.one, "what now", AN_HOUR)
    shown = seconds_left(app)
    assert shown <= MOST_S
    seconds_left(app, below=shown)
    assert "· one: rate limited. Asked again in 600 s, attempt 2 of 3." in "\n".join(app.transcript)
    assert pair.count(before) == (1, 0)
    pair.one.script = Script(text=("Here it is.",))
    app.terminal.press("f5")
    app.wait_block("Here it is.")
    assert pair.count(before) == (2, 0)
    first, second = pair.one.exchanges[-2:]
    assert first.request.body == second.request.body
    assert "again in" not in app.status


@pytest.mark.promise("R1", "R2", "H1", "E1", "S4", "U2")
def test_esc_in_a_wait_ends_it_gives_the_prompt_back_and_no_attempt_follows(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    before = pair.counts
    app.ask(pair.one, "never mind", AN_HOUR)
    seconds_left(app)
    app.terminal.write(ESC)
    assert app.wait_stopped() == NO_CONNECTION
    assert app.composer == "never mind"
    assert "❯ never mind" not in app.transcript
    assert "again in" not in app.status
    app.settle(pair.one)
    # The key has nothing left to make now.
    app.terminal.press("f5")
    # What the stopped turn might still have sent would have come before this one.
    other = app.ask(pair.one, "something else", Script(text=("Of course.",)))
    app.wait_block("Of course.")
    assert pair.count(before) == (2, 0)
    assert contents(other)[-1].endswith("something else")
    assert not any("never mind" in text for text in contents(other))


@pytest.mark.promise("R2", "P1", "P2", "H1")
def test_esc_before_the_headers_of_the_second_attempt_closes_its_socket(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    before = pair.counts
    app.ask(pair.one, "twice", in_turn(AN_HOUR, Script(fault=Silence())))
    seconds_left(app)
    app.terminal.press("f5")
    second = pair.one.wait_request(before[0] + 2)
    app.terminal.write(ESC)
    pair.one.wait_closed(second)
    assert second.closed_by_peer
    assert second.headers_at is None
    assert app.wait_stopped() == "connection closed. Your prompt is back below."
    assert app.composer == "twice"
    app.settle(pair.one)
    app.ask(pair.one, "once", Script(text=("Yes.",)))
    app.wait_block("Yes.")
    assert pair.count(before) == (3, 0)


@pytest.mark.promise("R1", "R4", "H6")
def test_the_screen_and_the_costs_say_who_answers_in_place_of_another(app: Caesura, pair: Pair) -> None:
    choose(app, "backup")
    before = pair.counts
    pair.two.script = Script(text=("Two answers.",))
    app.ask(pair.one, "who is there", OVERLOADED)
    app.wait_block("Two answers.")
    assert pair.count(before) == (1, 1)
    assert "· one: overloaded. two is asked instead." in app.transcript
    assert "backup → two" in app.status
    app.terminal.type("/cost\n")
    app.wait_for(lambda screen: any(re.match(r"\s+two\s+\d+ ", line) for line in screen))


@pytest.mark.promise("R1", "R2", "R3")
def test_a_stop_in_the_wait_of_a_whole_route_asks_none_of_its_members(app: Caesura, pair: Pair) -> None:
    choose(app, "both")
    before = pair.counts
    pair.two.script = AN_HOUR
    app.ask(pair.one, "anybody", AN_HOUR)
    seconds_left(app)
    assert pair.count(before) == (1, 1)
    app.terminal.write(ESC)
    assert app.wait_stopped() == NO_CONNECTION
    app.settle(pair.one)
    app.ask(pair.one, "somebody", Script(text=("Me.",)))
    app.wait_block("Me.")
    assert pair.count(before) == (2, 1)


@pytest.mark.promise("R1", "R3")
def test_requests_alternate_and_a_stopped_one_does_not_move_the_turn(app: Caesura, pair: Pair) -> None:
    choose(app, "turns")
    before = pair.counts

    def asked(prompt: str) -> int:
        """Which one answers a prompt."""
        now = pair.counts
        pair.one.script = pair.two.script = Script(text=(f"To {prompt}.",))
        app.terminal.type(f"{prompt}\n")
        app.wait_block(f"To {prompt}.")
        return pair.count(now).index(1)

    first = asked("a")
    assert [asked("b"), asked("c")] == [1 - first, first]
    now = pair.counts
    pair.one.script = pair.two.script = ENDLESS
    app.terminal.type("d\n")
    app.terminal.wait_for("word word")
    app.terminal.write(ESC)
    assert app.wait_stopped().startswith("connection closed.")
    assert pair.count(now).index(1) == 1 - first
    assert [asked("e"), asked("f")] == [1 - first, first]
    assert sum(pair.count(before)) == 6


def test_another_server_answers_from_the_next_prompt_on(app: Caesura, pair: Pair) -> None:
    """Chosen while nothing runs, and while a reply comes, which goes on."""
    choose(app, "side/from-here")
    before = pair.counts
    pair.two.script = Script(text=("From the side.",))
    app.terminal.type("hello\n")
    app.wait_block("From the side.")
    assert pair.count(before) == (0, 1)
    assert pair.two.exchanges[-1].request.model == "from-here"

    choose(app, "one")
    going = app.ask(pair.one, "go on", Script(text=("bit ",) * 4, fault=Stall(after=2)))
    app.terminal.wait_for("bit bit")
    app.terminal.type("/model side/and-there\n")
    app.terminal.wait_for("side/and-there answers from the next prompt on.")
    assert going.closed_at is None
    pair.one.release(going)
    app.wait_block("bit bit bit bit")
    assert pair.count(before) == (1, 1)
    app.terminal.type("and now\n")
    app.wait_block("From the side.")
    assert pair.count(before) == (1, 2)
    assert pair.two.exchanges[-1].request.model == "and-there"
    assert "bit bit" in "".join(contents(pair.two.exchanges[-1]))


@pytest.mark.promise("R2", "H1")
def test_a_model_chosen_in_a_wait_answers_once_that_is_stopped(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    before = pair.counts
    app.ask(pair.one, "take your time", AN_HOUR)
    seconds_left(app)
    app.terminal.type("/model two\n")
    app.terminal.wait_for("two answers from the next prompt on.")
    app.terminal.write(ESC)
    assert app.wait_stopped() == NO_CONNECTION
    assert app.composer == "take your time"
    pair.two.script = Script(text=("Quickly.",))
    app.terminal.press("enter")
    app.wait_block("Quickly.")
    assert pair.count(before) == (1, 1)


@pytest.mark.promise("S4", "S5", "R2", "R3")
def test_a_sub_agent_in_its_wait_is_stopped_alone_by_its_row(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    before = pair.counts
    asks = calls(call("agent", task="look it up"), text="I have it looked up.")
    app.send(pair.one, "find out", in_turn(asks, AN_HOUR, Script(text=("Without it, then.",))))
    seconds_left(app)
    panel = Panel(app)
    panel.open()
    panel.click("look it up")
    pair.one.wait_request(before[0] + 3)
    app.wait_for(lambda screen: any("Without it, then." in line for line in screen))
    panel.close()
    app.wait_block("Without it, then.")
    (result,) = last_results(pair.one.exchanges[-1].request)
    assert "stopped" in result.text.lower()
    assert pair.count(before) == (3, 0)


@pytest.mark.promise("H2", "H9", "R4", "P6")
def test_a_reply_that_broke_off_is_continued_by_the_member_that_is_not_left_alone(
    app: Caesura, pair: Pair
) -> None:
    choose(app, "cooling")
    before = pair.counts
    app.ask(pair.one, "tell me", Script(text=("half ",) * 4, fault=Cut(after=2)))
    app.wait_block("What had arrived is kept; /continue goes on from there.")
    assert pair.count(before) == (1, 0)
    pair.two.script = Script(text=("The other half.",))
    app.terminal.type("/continue\n")
    app.wait_block("The other half.")
    assert pair.count(before) == (1, 1)
    assert "half half" in "".join(contents(pair.two.exchanges[-1]))
    assert "cooling → two" in app.status


@pytest.mark.promise("C1", "C2", "R2")
def test_a_compaction_counts_down_and_is_stopped_like_a_reply(app: Caesura, pair: Pair) -> None:
    choose(app, "one")
    for prompt in ("say one", "say two"):
        app.ask(pair.one, prompt, Script(text=(f"I {prompt}.",)))
        app.wait_block(f"I {prompt}.")
    before = pair.counts
    pair.one.script = AN_HOUR
    app.terminal.type("/compact\n")
    seconds_left(app)
    app.terminal.press("f5")
    pair.one.wait_request(before[0] + 2)
    app.wait_for(lambda screen: "attempt 3 of 3." in "\n".join(screen) and bool(COUNTDOWN.search(screen[-1])))
    app.terminal.write(ESC)
    told = app.wait_block("Compaction stopped by Esc after ")
    assert told.endswith(": no connection was open. The conversation is as it was.")
    after = app.ask(pair.one, "and three", Script(text=("Three.",)))
    app.wait_block("Three.")
    assert pair.count(before) == (3, 0)
    assert "I say one." in contents(after)


@pytest.mark.promise("P1")
def test_reasoning_that_another_provider_has_sealed_is_sent_to_its_maker_alone(tmp_path: Path) -> None:
    class Conversing(AnthropicServer):
        def choose(self, request: Request) -> Script:
            return Script(text=("A title",)) if is_of_a_job(request) else super().choose(request)

        @property
        def exchanges(self) -> list[Exchange]:
            return [each for each in super().exchanges if not is_of_a_job(each.request)]

    def sent(exchange: Exchange) -> str:
        return json.dumps(exchange.request.body["messages"])

    with ThreadedServer(Conversing()) as mine, ThreadedServer(Conversing()) as other:
        servers: dict[str, Server] = {"mine": mine, "other": other}
        named = {
            name: {"model": "anthropic/claude-sonnet-4-5", "api_base": server.url, "key": "A_KEY"}
            for name, server in servers.items()
        }
        write(tmp_path, {"model": "mine", "models": named, "effort": "low", "jobs": {"memory": False}})
        with running(tmp_path, env={"A_KEY": "sk-a"}) as app:
            seal = "bWluZSBhbG9uZQ=="
            app.ask(mine, "think", Script(reasoning=("Hm.",), signature=seal, text=("Thought.",)))
            app.wait_block("Thought.")
            choose(app, "other")
            elsewhere = app.ask(other, "and you", Script(text=("Me too.",)))
            app.wait_block("Me too.")
            choose(app, "mine")
            back = app.ask(mine, "again", Script(text=("Again.",)))
            app.wait_block("Again.")
        assert seal not in sent(elsewhere)
        assert "Thought." in sent(elsewhere)
        assert seal in sent(back)
        assert mine.complaints == other.complaints == []


@pytest.mark.promise("R1", "R2", "Q1", "Q4")
def test_without_a_screen_a_wait_is_told_and_ended_by_sigint(tmp_path: Path, pair: Pair) -> None:
    write(tmp_path, settings(pair))
    before = pair.counts
    pair.one.script = AN_HOUR
    with run(tmp_path, "--model", "one", "hi") as stopped:
        said = "caesura: one: rate limited. Asked again in 600 s, attempt 2 of 3.\n"
        wait_until(lambda: stopped.errors_so_far() == said, what="the wait is told")
        stopped.process.send_signal(signal.SIGINT)
        assert stopped.wait() == 130
        assert stopped.rest() == b"\n" or stopped.rest() == b""
        assert "cancelled by SIGINT after " in stopped.errors()
        assert stopped.errors().endswith("connection not open\n")
        assert_nothing_is_left(stopped)
    assert pair.count(before) == (1, 0)


@pytest.mark.promise("R4", "H6")
def test_without_a_screen_the_json_names_the_model_that_answered(tmp_path: Path, pair: Pair) -> None:
    write(tmp_path, settings(pair))
    before = pair.counts
    pair.one.script, pair.two.script = OVERLOADED, Script(text=("Two answers.",))
    with run(tmp_path, "--model", "backup", "--json", "hi") as finished:
        told = json.loads(finished.rest())
        assert finished.wait() == 0
        assert finished.errors() == "caesura: one: overloaded. two is asked instead.\n"
    assert (told["text"], told["model"]) == ("Two answers.", "two")
    # The price of the one that answered: 12 tokens in at 0.15, 7 out at 0.60 dollars per million.
    assert told["cost"] == pytest.approx(12 * 0.15e-6 + 7 * 0.60e-6)
    assert pair.count(before) == (1, 1)


@pytest.mark.promise("Q2", "R2")
def test_a_quit_in_a_wait_ends_the_program_at_once(tmp_path: Path, pair: Pair) -> None:
    write(tmp_path, settings(pair))
    before = pair.counts
    with running(tmp_path) as app:
        app.ask(pair.one, "bye", AN_HOUR)
        seconds_left(app)
        app.terminal.press("ctrl+q")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.unrestored() == []
        wait_until(lambda: app.terminal.processes() == [], what="no process is left")
    assert pair.count(before) == (1, 0)
