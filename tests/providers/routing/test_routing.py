"""Routing over real connections: servers that count requests, and each protocol's own words for failure."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from core.model.provider import (
    AttemptStarted,
    BackedOff,
    BackingOff,
    Closed,
    Closing,
    Delta,
    FailedOver,
    FailureKind,
    ParametersDropped,
    Phase,
    PhaseChanged,
)
from core.model.settings import ModelSettings, NamedModel, RetryPolicy, Route, ServerAddress
from providers.routing.attempts import AllFailed
from tests.providers.harness import STREAMED, Situation, request
from tests.providers.routing.routed import ESCAPE, Hourglass, Listened, router
from tests.servers.base import Server, ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.registry import PROTOCOLS, WireProtocol
from tests.servers.script import (
    Cut,
    ErrorEvent,
    Refusal,
    Refuse,
    Reset,
    Script,
    Stall,
    in_turn,
)
from tests.support.waiting import GENEROUS_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.client.model_process import ModelProcess
    from providers.routing.router import Router
    from tests.servers.script import Fault

OPENAI = PROTOCOLS["openai"]
PASSES: dict[str, Fault] = {
    "rate limited": Refuse(Refusal.RATE_LIMITED),
    "overloaded": Refuse(Refusal.OVERLOADED),
    "server error": Refuse(Refusal.SERVER_ERROR),
    "reply broke off": Reset(),
}
"""What may be over in a moment, by the word for it."""
STAYS: dict[FailureKind, Fault] = {
    FailureKind.WRONG_KEY: Refuse(Refusal.WRONG_KEY),
    FailureKind.UNKNOWN_MODEL: Refuse(Refusal.UNKNOWN_MODEL),
    FailureKind.BAD_REQUEST: Refuse(Refusal.BAD_REQUEST),
    FailureKind.CONTEXT_TOO_LONG: Refuse(Refusal.CONTEXT_TOO_LONG),
}
LIMITED = Script(fault=Refuse(Refusal.RATE_LIMITED))
A_DAY = Script(fault=Refuse(Refusal.RATE_LIMITED, retry_after=86_400))


class Servers:
    """Servers of one protocol, each with a model under a name of its own, and routes over them."""

    def __init__(self, stack: ExitStack, process: ModelProcess, protocol: WireProtocol = OPENAI) -> None:
        self._stack = stack
        self.process = process
        self._protocol = protocol
        self.hourglass = Hourglass()
        self.by_name: dict[str, Server] = {}
        self.models: dict[str, NamedModel] = {}

    def add(self, name: str, script: Script | Callable[..., Script] | None = None) -> Server:
        server = self._stack.enter_context(ThreadedServer(self._protocol.server(script)))
        self.by_name[name] = server
        asked = request(self._protocol, server.url)
        self.models[name] = NamedModel(asked.model, api_base=server.url)
        return server

    def router(self, route: Route | None = None, *, retry: RetryPolicy | None = None) -> Router:
        routes = {"route": route} if route is not None else {}
        settings = ModelSettings(models=self.models, routes=routes, retry=retry or RetryPolicy())
        return router(self.process, settings, self.hourglass)

    async def reached(self, situation: Situation, asked: Listened, server: Server, number: int) -> None:
        """Wait until the request of this number is where it is to be stopped."""

        def is_there() -> bool:
            exchanges = server.exchanges
            # What tells how far it is: words that arrived, headers, or the request alone.
            of_words = situation in (STREAMED[2], STREAMED[3], STREAMED[4])
            return len(exchanges) == number and (
                asked.shown if of_words else situation is STREAMED[0] or exchanges[-1].headers_at is not None
            )

        await until(is_there)

    @property
    def counts(self) -> list[int]:
        """How many requests each has got, in the order in which they were added."""
        return [len(server.exchanges) for server in self.by_name.values()]


@pytest.fixture
def servers(model: ModelProcess) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, model)


@pytest.fixture
def spoken(model: ModelProcess, protocol: WireProtocol) -> Iterator[Servers]:
    """Servers of each protocol in turn."""
    with ExitStack() as stack:
        yield Servers(stack, model, protocol)


# ---- retry


@pytest.mark.promise("R2", "R4")
async def test_what_passes_is_asked_again(spoken: Servers) -> None:
    spoken.hourglass.at_once = True
    server = spoken.add("one")
    asking = spoken.router()
    for why, fault in PASSES.items():
        before = len(server.exchanges)
        server.script = in_turn(Script(fault=fault), Script(fault=fault), Script())
        asked = Listened(asking, "one")
        finished = await asked.finished()
        assert asked.text == "Hello, world."
        assert finished.answered_by == "", "it is the name that was asked for"
        assert len(server.exchanges) - before == 3
        assert [(off.attempt, off.attempts, off.failed, off.why) for off in asked.of(BackingOff)] == [
            (2, 3, "one", why),
            (3, 3, "one", why),
        ]
        assert len(asked.of(BackedOff)) == 2
    assert len(spoken.hourglass.waits) == 2 * len(PASSES)


async def test_each_attempt_says_how_long_its_server_may_be_silent(servers: Servers) -> None:
    busy, free = servers.add("busy", LIMITED), servers.add("free")
    addresses = {
        "one": ServerAddress(api_base=busy.url, first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S + 1),
        "two": ServerAddress(api_base=free.url, first_byte_timeout=GENEROUS_S + 2, idle_timeout=GENEROUS_S),
    }
    members = Route(fallback=("one/m", "two/m"))
    asked = Listened(router(servers.process, ModelSettings(addresses, routes={"route": members})), "route")
    await asked.finished()
    assert asked.of(AttemptStarted) == [
        AttemptStarted(GENEROUS_S, GENEROUS_S + 1),
        AttemptStarted(GENEROUS_S + 2, GENEROUS_S),
    ]


@pytest.mark.promise("R3")
async def test_what_stays_is_asked_once(spoken: Servers) -> None:
    spoken.hourglass.at_once = True
    server = spoken.add("one")
    asking = spoken.router()
    for number, (kind, fault) in enumerate(STAYS.items(), 1):
        server.script = Script(fault=fault)
        asked = Listened(asking, "one")
        assert (await asked.failure()).kind is kind
        assert not asked.backing_off
        assert len(server.exchanges) == number


@pytest.mark.promise("R2")
async def test_the_last_failure_is_raised_when_the_attempts_are_used_up(servers: Servers) -> None:
    servers.hourglass.at_once = True
    server = servers.add("one", LIMITED)
    asked = Listened(servers.router(retry=RetryPolicy(retries=3, backoff=10.0, max_wait=25.0)), "one")
    assert (await asked.failure()).kind is FailureKind.RATE_LIMITED
    assert len(server.exchanges) == 4
    # OpenAI's text asks for 20 s, which goes before our own doubling.
    assert servers.hourglass.waits == [20.0, 20.0, 20.0]


@pytest.mark.promise("R2", "R3")
async def test_a_wait_is_capped_whatever_the_server_asks_for_and_ends_with_a_stop(spoken: Servers) -> None:
    server = spoken.add("one", A_DAY)
    asked = Listened(spoken.router(retry=RetryPolicy(max_wait=60.0)), "one")
    await until(lambda: spoken.hourglass.running == 1)
    (off,) = asked.of(BackingOff)
    assert off.wait.seconds == 60.0
    assert asked.deltas[-2] == PhaseChanged(Phase.BACK_OFF)
    assert (await asked.stop()).how is Closing.NEVER_OPENED
    assert spoken.hourglass.running == 0
    assert asked.of(BackedOff) == []
    # Whatever the stopped request might still have sent would have come before this one.
    server.script = Script()
    await Listened(spoken.router(), "one").finished()
    assert len(server.exchanges) == 2


@pytest.mark.promise("R2", "T1")
async def test_a_stop_from_another_thread_ends_a_wait(servers: Servers) -> None:
    # Then a loop complains of what comes from another thread past the one way in.
    asyncio.get_running_loop().set_debug(True)
    server = servers.add("one", A_DAY)
    asked = Listened(servers.router(), "one")
    await until(lambda: servers.hourglass.running == 1)
    threading.Thread(target=asked.token.cancel, args=(ESCAPE,)).start()
    assert (await asked.stopped()).how is Closing.NEVER_OPENED
    assert servers.hourglass.running == 0
    assert len(server.exchanges) == 1


@pytest.mark.promise("R2")
async def test_a_skipped_wait_ends_at_once_from_any_thread(servers: Servers) -> None:
    # Then a loop complains of what comes from another thread past the one way in.
    asyncio.get_running_loop().set_debug(True)
    server = servers.add("one", in_turn(A_DAY, Script()))
    asked = Listened(servers.router(), "one")
    await until(lambda: servers.hourglass.running == 1)
    (off,) = asked.of(BackingOff)
    threading.Thread(target=off.wait.skip).start()
    await asked.finished()
    assert len(server.exchanges) == 2
    assert len(asked.of(BackedOff)) == 1
    assert servers.hourglass.running == 0


@pytest.mark.promise("R2")
async def test_a_wait_is_over_when_its_time_is(servers: Servers) -> None:
    """With the real clock, which nothing measures."""
    server = servers.add("one", in_turn(Script(fault=Refuse(Refusal.OVERLOADED)), Script()))
    servers.hourglass.timing = type(servers.hourglass.timing)()
    await Listened(servers.router(retry=RetryPolicy(backoff=0.001)), "one").finished()
    assert len(server.exchanges) == 2


@pytest.mark.promise("R4")
async def test_nothing_is_asked_again_once_something_was_shown(spoken: Servers) -> None:
    spoken.hourglass.at_once = True
    spoken.add("one", Script(fault=Cut(after=2)))
    spoken.add("two")
    asking = spoken.router(Route(fallback=("one", "two"), retries=3))
    asked = Listened(asking, "route")
    assert (await asked.failure()).kind is FailureKind.BROKEN_STREAM
    assert asked.shown
    assert spoken.counts == [1, 0]
    # It has failed all the same: the next request leaves it alone.
    await Listened(asking, "route").finished()
    assert spoken.counts == [1, 1]


# ---- fallback


@pytest.mark.promise("R4")
async def test_another_model_is_asked_when_one_fails(spoken: Servers) -> None:
    first = spoken.add("first")
    spoken.add("second")
    words: dict[str, Fault] = {
        **PASSES,
        "key not accepted": STAYS[FailureKind.WRONG_KEY],
        "unknown model": STAYS[FailureKind.UNKNOWN_MODEL],
    }
    for number, (why, fault) in enumerate(words.items(), 1):
        first.script = Script(fault=fault)
        asked = Listened(spoken.router(Route(fallback=("first", "second"))), "route")
        finished = await asked.finished()
        assert finished.answered_by == "second"
        assert asked.of(FailedOver) == [FailedOver("first", "second", why)]
        assert not asked.backing_off
        assert spoken.counts == [number, number]


async def test_an_error_that_comes_as_an_event_falls_over_too(spoken: Servers) -> None:
    spoken.add("first", Script(fault=ErrorEvent()))
    spoken.add("second")
    asked = Listened(spoken.router(Route(fallback=("first", "second"))), "route")
    assert (await asked.finished()).answered_by == "second"
    assert spoken.counts == [1, 1]


async def test_a_server_that_is_not_there_is_left_for_another(servers: Servers) -> None:
    gone = servers.add("gone")
    servers.add("second")
    with ThreadedServer(OpenAIServer()) as closed:
        url = closed.url
    servers.models["gone"] = NamedModel("openai/gpt-4o", api_base=url)
    asked = Listened(servers.router(Route(fallback=("gone", "second"))), "route")
    assert (await asked.finished()).answered_by == "second"
    assert asked.of(FailedOver) == [FailedOver("gone", "second", "unreachable")]
    assert gone.exchanges == []


async def test_no_other_model_is_asked_what_it_could_not_do_better(spoken: Servers) -> None:
    first = spoken.add("first")
    spoken.add("second")
    asking = spoken.router(Route(fallback=("first", "second")))
    for kind in (FailureKind.BAD_REQUEST, FailureKind.CONTEXT_TOO_LONG):
        first.script = Script(fault=STAYS[kind])
        assert (await Listened(asking, "route").failure()).kind is kind
    # Nor was it left alone for that.
    assert spoken.counts == [2, 0]


async def test_a_model_that_failed_is_left_alone_for_a_while(servers: Servers) -> None:
    servers.add("first", in_turn(LIMITED, Script()))
    servers.add("second")
    asking = servers.router(Route(fallback=("first", "second"), cooldown=30.0))
    for counts in ([1, 1], [1, 2]):
        assert (await Listened(asking, "route").finished()).answered_by == "second"
        assert servers.counts == counts
    servers.hourglass.now += 29.9
    assert (await Listened(asking, "route").finished()).answered_by == "second"
    servers.hourglass.now += 0.1
    assert (await Listened(asking, "route").finished()).answered_by == "first"
    assert servers.counts == [2, 3]


async def test_when_all_have_failed_each_is_named_and_asked_again_in_the_order_they_are_free(
    servers: Servers,
) -> None:
    first = servers.add("first", Script(fault=Refuse(Refusal.WRONG_KEY)))
    servers.add("second", Script(fault=Refuse(Refusal.RATE_LIMITED, retry_after=7)))
    asking = servers.router(Route(fallback=("first", "second")))
    failure = await Listened(asking, "route").failure()
    assert isinstance(failure, AllFailed)
    assert "first (key not accepted), second (rate limited)" in str(failure)
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.retry_after_s == 7.0
    servers.by_name["second"].script = Script()
    servers.hourglass.now += 10.0
    # `first` has been left alone for as long; it fails later, and is then the last to be asked.
    assert (await Listened(asking, "route").finished()).answered_by == "second"
    assert servers.counts == [2, 2]
    first.script = Script()
    assert (await Listened(asking, "route").finished()).answered_by == "second"


# ---- rotation


@pytest.mark.promise("R1")
async def test_models_take_turns(servers: Servers) -> None:
    names = ("a", "b", "c")
    for name in names:
        servers.add(name)
    asking = servers.router(Route(rotate=names))
    answered = [(await Listened(asking, "route").finished()).answered_by for _ in range(6)]
    assert answered == [*names, *names]
    # At the same time, too.
    together = [Listened(asking, "route") for _ in range(3)]
    assert {(await asked.finished()).answered_by for asked in together} == set(names)


async def test_the_turn_passes_by_who_has_failed(servers: Servers) -> None:
    servers.add("a")
    servers.add("b", LIMITED)
    servers.add("c")
    asking = servers.router(Route(rotate=("a", "b", "c")))
    answered = [(await Listened(asking, "route").finished()).answered_by for _ in range(5)]
    assert answered == ["a", "c", "a", "c", "a"]
    assert servers.counts == [3, 1, 2]


@pytest.mark.promise("R1", "R3")
@pytest.mark.parametrize("situation", STREAMED, ids=str)
async def test_a_stop_in_any_phase_leaves_the_turn_and_everyone_as_they_were(
    servers: Servers, situation: Situation
) -> None:
    servers.add("a")
    servers.add("b", situation.script)
    servers.add("c")
    asking = servers.router(Route(rotate=("a", "b", "c"), retries=2))
    await Listened(asking, "route").finished()
    server = servers.by_name["b"]
    for number in (1, 2):
        asked = Listened(asking, "route")
        await servers.reached(situation, asked, server, number)
        assert (await asked.stop()).how is Closing.CLOSED
        assert asked.of(FailedOver) == []
        assert not asked.backing_off
        assert servers.counts == [1, number, 0]
    server.script = Script()
    assert (await Listened(asking, "route").finished()).answered_by == "b"
    assert (await Listened(asking, "route").finished()).answered_by == "c"


# ---- stops between the attempts

STEPS = [PhaseChanged(Phase.BACK_OFF), BackingOff, BackedOff, PhaseChanged(Phase.BEFORE_REQUEST), FailedOver]


def stop_at(step: object, asked: list[Listened]) -> Callable[[Delta], None]:
    def on_delta(delta: Delta) -> None:
        if delta == step or type(delta) is step:
            asked[0].token.cancel(ESCAPE)

    return on_delta


@pytest.mark.promise("R1", "R2", "R3")
@pytest.mark.parametrize("step", STEPS, ids=lambda step: getattr(step, "__name__", None) or str(step.phase))
@pytest.mark.parametrize("rotates", [False, True], ids=["fallback", "rotate"])
async def test_a_stop_before_an_attempt_sends_nothing_more(
    servers: Servers, step: object, rotates: bool
) -> None:
    servers.hourglass.at_once = True
    for name in ("a", "b"):
        servers.add(name, LIMITED)
    members = ("a", "b")
    route = Route(rotate=members if rotates else (), fallback=() if rotates else members, retries=2)
    asking = servers.router(route)
    them: list[Listened] = []
    them.append(Listened(asking, "route", on_delta=lambda delta: stop_at(step, them)(delta)))
    (asked,) = them
    assert (await asked.stopped()).how is Closing.NEVER_OPENED
    counts = [1, 0] if step is FailedOver else [1, 1]
    assert servers.counts == counts
    # The turn stands behind who was asked and was not stopped; and those who failed before the stop are left
    # alone, so that `b` is asked if it was not.
    for server in servers.by_name.values():
        server.script = Script()
    answered = (await Listened(asking, "route").finished()).answered_by
    assert answered == ("b" if step is FailedOver else "a")
    assert sum(servers.counts) == sum(counts) + 1


@pytest.mark.promise("R1", "T3")
async def test_a_stop_before_the_first_attempt_sends_nothing(servers: Servers) -> None:
    for name in ("a", "b"):
        servers.add(name)
    asking = servers.router(Route(rotate=("a", "b"), retries=2))
    asked = Listened(asking, "route")
    assert (await asked.stop()).how is Closing.NEVER_OPENED
    assert (await Listened(asking, "route").finished()).answered_by == "a"
    assert servers.counts == [1, 0]


@pytest.mark.promise("T5", "R3")
async def test_an_end_from_outside_passes_through(servers: Servers) -> None:
    server = servers.add("a", A_DAY)
    servers.add("b")
    asking = servers.router(Route(rotate=("a", "b")), retry=RetryPolicy())
    waiting = Listened(asking, "a")
    await until(lambda: servers.hourglass.running == 1)
    server.script = Script(fault=Stall())
    streaming = Listened(asking, "route")
    await until(lambda: len(server.exchanges) == 2)
    for asked in (waiting, streaming):
        asked.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked.task
        assert not asked.token.cancelled
        assert asked.of(Closed) == []
    assert servers.hourglass.running == 0
    server.script = Script()
    assert (await Listened(asking, "route").finished()).answered_by == "a", "its turn came back"


# ---- what a model does not take


async def test_a_parameter_that_is_refused_is_left_out_from_then_on(servers: Servers) -> None:
    server = servers.add(
        "one",
        lambda asked: Script(fault=Refuse(Refusal.BAD_REQUEST)) if "temperature" in asked.body else Script(),
    )
    servers.models["one"] = NamedModel(
        servers.models["one"].model, api_base=server.url, temperature=0.5, max_output=50
    )
    asking = servers.router()
    asked = Listened(asking, "one")
    await asked.finished()
    assert asked.of(ParametersDropped) == [ParametersDropped("one", ("temperature",))]
    again = Listened(asking, "one")
    await again.finished()
    assert again.of(ParametersDropped) == []
    assert ["temperature" in exchange.request.body for exchange in server.exchanges] == [True, False, False]
    assert all(exchange.request.body.get("max_tokens") == 50 for exchange in server.exchanges)


@pytest.mark.promise("R2")
async def test_of_many_members_that_failed_the_first_are_named(servers: Servers) -> None:
    for number in range(8):
        servers.add(f"m{number}", LIMITED)
    asking = servers.router(Route(fallback=tuple(servers.by_name), retries=1))
    asked = Listened(asking, "route")
    await until(lambda: servers.hourglass.running == 1)
    (off,) = asked.of(BackingOff)
    assert off.failed == "m0, m1, m2, m3, m4 and 3 more"
    off.wait.skip()
    failure = await asked.failure()
    assert "m4 (rate limited) and 3 more. Wait" in str(failure)
    assert "m7: " in failure.detail, "the log has them all"
    assert servers.counts == [2] * 8
