"""Random trees of routes, failures and stops, held against a plain model of what is asked and remembered.

The provider beneath ends a stopped request through its token and in no other way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import assert_never

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.cancel import Cancelled, CancelToken
from core.model.messages import FinishReason
from core.model.provider import (
    AttemptStarted,
    BackedOff,
    BackingOff,
    Closed,
    Closing,
    Delta,
    Emit,
    FailedOver,
    FailureKind,
    Finished,
    ModelError,
    ModelInfo,
    ModelProvider,
    ModelRequest,
    PhaseChanged,
    TextDelta,
)
from core.model.settings import RetryPolicy
from providers.routing.attempts import each_failure
from providers.routing.failover import Failover
from providers.routing.retry import Member, Retry
from providers.routing.router import DirectProvider
from providers.routing.routes import Target
from tests.providers.routing.routed import ESCAPE, Hourglass, Listened, Stage

COOLDOWN = 30.0
TEMPORARY = {
    FailureKind.RATE_LIMITED,
    FailureKind.OVERLOADED,
    FailureKind.SERVER_ERROR,
    FailureKind.UNREACHABLE,
    FailureKind.NAME_NOT_FOUND,
    FailureKind.BROKEN_STREAM,
}
OF_THE_MEMBER = TEMPORARY | {
    FailureKind.WEB_PAGE,
    FailureKind.UNTRUSTED,
    FailureKind.REDIRECTED,
    FailureKind.TIMED_OUT,
    FailureKind.NO_KEY,
    FailureKind.WRONG_KEY,
    FailureKind.UNKNOWN_MODEL,
}


# ---- what is drawn


@dataclass(frozen=True, eq=False)
class Model:
    name: str


@dataclass(frozen=True, eq=False)
class Again:
    inner: Node
    retries: int


@dataclass(frozen=True, eq=False)
class Some:
    name: str
    members: tuple[Node, ...]
    rotates: bool


Node = Model | Again | Some


@dataclass(frozen=True)
class End:
    """How an attempt ends: with `kind`, or well; after something was shown if it is `late`."""

    kind: FailureKind | None
    late: bool = False


@dataclass(frozen=True)
class Plan:
    """One request: how much time passes before it, and the event at which it is stopped, if it is."""

    pause: float
    stop_at: int | None


LEAVES = st.sampled_from(["a", "b", "c", "d"]).map(Model)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Again, inner, st.integers(1, 2)),
        st.builds(
            Some,
            st.sampled_from(["r", "s"]),
            st.lists(inner, min_size=1, max_size=3).map(tuple),
            st.booleans(),
        ),
    ),
    max_leaves=6,
).filter(lambda node: not isinstance(node, Model))
ENDS = st.one_of(
    st.just(End(None)),
    st.builds(End, st.sampled_from(sorted(TEMPORARY))),
    st.builds(End, st.sampled_from([FailureKind.RATE_LIMITED, FailureKind.CONTEXT_TOO_LONG])),
    st.builds(End, st.sampled_from(list(FailureKind)), st.booleans()),
)
PLANS = st.lists(
    st.builds(Plan, st.sampled_from([0.0, 10.0, 40.0]), st.none() | st.integers(1, 25)),
    min_size=1,
    max_size=5,
)
WINDOWS = st.fixed_dictionaries({name: st.sampled_from([None, 8, 100]) for name in "abcd"})


# ---- the plain model


class Stop(Exception):
    pass


class Failed(Exception):
    def __init__(self, kinds: list[FailureKind]) -> None:
        super().__init__()
        self.kinds = kinds


@dataclass
class Expected:
    """What is to happen, step by step, with no tokens, tasks or locks."""

    ends: list[End]
    windows: dict[str, int | None]
    turns: dict[Some, int] = field(default_factory=dict)
    cool: dict[Some, dict[int, float]] = field(default_factory=dict)
    now: float = 0.0
    log: list[str] = field(default_factory=list)
    shown: bool = False
    stop_at: int | None = None

    def request(self, node: Node, stop_at: int | None) -> str:
        self.log, self.shown, self.stop_at = [], False, stop_at
        try:
            return self.ask(node)
        except Stop:
            return "stopped"
        except Failed as failed:
            return f"failed {[kind.value for kind in failed.kinds]}"

    def event(self, said: str) -> None:
        self.log.append(said)
        if len(self.log) == self.stop_at:
            raise Stop

    def ask(self, node: Node) -> str:
        match node:
            case Model(name):
                return self.ask_model(name)
            case Again(inner, retries):
                return self.ask_again(inner, retries)
            case Some():
                return self.ask_some(node)
            case _:
                assert_never(node)

    def ask_model(self, name: str) -> str:
        self.event(f"ask {name}")
        end = self.ends.pop(0) if self.ends else End(None)
        if end.kind is None or end.late:
            self.shown = True
            self.event("text")
        if end.kind is not None:
            raise Failed([end.kind])
        return f"answered by {name}"

    def ask_again(self, inner: Node, retries: int) -> str:
        while True:
            try:
                return self.ask(inner)
            except Failed as failed:
                if self.shown or not retries or not TEMPORARY & set(failed.kinds):
                    raise
            retries -= 1
            for said in ("back-off", "wait", "waited", "before request"):
                self.event(said)

    def ask_some(self, node: Some) -> str:
        count = len(node.members)
        cool = self.cool.setdefault(node, {})
        left, kinds = list(range(count)), list[FailureKind]()
        while True:
            turn = self.turns.get(node, 0)
            due = sorted(
                left, key=lambda index: (max(0.0, cool.get(index, 0.0) - self.now), (index - turn) % count)
            )
            index = due[0]
            if kinds:
                self.event("fail over")
            if node.rotates:
                self.turns[node] = (index + 1) % count
            try:
                answer = self.ask(node.members[index])
            except Stop:
                self.turns[node] = turn
                raise
            except Failed as failed:
                if OF_THE_MEMBER & set(failed.kinds):
                    cool[index] = self.now + COOLDOWN
                last = failed.kinds[-1]
                if self.shown or count == 1 or last in (FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE):
                    raise
                left.remove(index)
                if last is FailureKind.CONTEXT_TOO_LONG:
                    known = self.window(node.members[index])
                    left = [each for each in left if known and (self.window(node.members[each]) or 0) > known]
                    if not left:
                        raise
                kinds += failed.kinds
                if not left:
                    raise Failed(kinds) from None
            else:
                cool.pop(index, None)
                return answer

    def window(self, node: Node) -> int | None:
        match node:
            case Model(name):
                return self.windows[name]
            case Again(inner):
                return self.window(inner)
            case Some(_, members):
                return max((known for each in members if (known := self.window(each))), default=None)
            case _:
                assert_never(node)


# ---- the real thing


class Actual:
    """The same tree of real providers over a stage that plays the same ends."""

    def __init__(self, node: Node, ends: list[End], windows: dict[str, int | None]) -> None:
        self.hourglass = Hourglass(at_once=True)
        self.hourglass.now = 0.0
        self.ends = list(ends)
        infos = {name: ModelInfo(name, context_window=window) for name, window in windows.items()}
        self.stage = Stage(self.play, infos)
        self.choices: dict[Some, Failover] = {}
        self.provider = self.build(node).provider
        self.log: list[str] = []
        self.started = 0
        self.stop_at: int | None = None
        self.asked: Listened | None = None

    def build(self, node: Node) -> Member:
        provider: ModelProvider
        match node:
            case Model(name):
                return Member(name, DirectProvider(self.stage, Target(name, name)))
            case Again(inner, retries):
                member = self.build(inner)
                policy = RetryPolicy(retries=retries)
                return Member(member.name, Retry(member, policy, self.hourglass.timing))
            case Some(name, members, rotates):
                built = [*map(self.build, members)]
                provider = Failover(built, COOLDOWN, rotates=rotates, timing=self.hourglass.timing)
                self.choices[node] = provider
                return Member(name, provider)
            case _:
                assert_never(node)

    async def request(self, stop_at: int | None) -> str:
        self.log, self.stop_at, self.started = [], stop_at, 0
        self.asked = Listened(self.provider, "any", on_delta=self.hear)
        match await self.asked.outcome():
            case Finished(answered_by=name):
                return f"answered by {name}"
            case ModelError() as error:
                return f"failed {[one.kind.value for _, one in each_failure('', error)]}"
            case Cancelled():
                return "stopped"

    def hear(self, delta: Delta) -> None:
        match delta:
            case Closed():
                return
            case AttemptStarted():
                self.started += 1
                return
            case TextDelta():
                said = "text"
            case PhaseChanged(phase):
                said = phase.value
            case BackingOff():
                said = "wait"
            case BackedOff():
                said = "waited"
            case FailedOver():
                said = "fail over"
            case _:
                raise AssertionError(delta)
        self.log.append(said)
        if len(self.log) == self.stop_at:
            assert self.asked is not None
            self.asked.token.cancel(ESCAPE)

    async def play(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        self.log.append(f"ask {request.model}")
        assert self.started == sum(said.startswith("ask ") for said in self.log)
        try:
            with token.bind():
                if len(self.log) == self.stop_at:
                    asyncio.get_running_loop().call_soon(token.cancel, ESCAPE)
                    await asyncio.Event().wait()
                end = self.ends.pop(0) if self.ends else End(None)
                if end.kind is None or end.late:
                    emit(TextDelta("text"))
                await asyncio.sleep(0)
        except Cancelled:
            emit(Closed(Closing.CLOSED, time.monotonic()))
            raise
        if end.kind is not None:
            raise ModelError(end.kind, "It failed.")
        return Finished(FinishReason.STOP, None, request.model)


@pytest.mark.promise("R1", "R2", "R3", "R4")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, st.lists(ENDS, min_size=5, max_size=25), PLANS, WINDOWS)
def test_what_is_asked_and_remembered_is_what_a_plain_model_says(
    node: Node, ends: list[End], plans: list[Plan], windows: dict[str, int | None]
) -> None:
    asyncio.run(compare(node, ends, plans, windows))


async def compare(node: Node, ends: list[End], plans: list[Plan], windows: dict[str, int | None]) -> None:
    expected, actual = Expected(list(ends), windows), Actual(node, ends, windows)
    for plan in plans:
        expected.now += plan.pause
        actual.hourglass.now += plan.pause
        end = expected.request(node, plan.stop_at)
        assert await actual.request(plan.stop_at) == end
        assert actual.log == expected.log
        asked = actual.asked
        assert asked is not None
        if end == "stopped":
            was_open = actual.log[-1] == "text" or actual.log[-1].startswith("ask")
            assert (await asked.stopped()).how is (Closing.CLOSED if was_open else Closing.NEVER_OPENED)
        else:
            assert asked.of(Closed) == []
        assert len(asked.of(TextDelta)) <= 1, "what was shown is not asked again"
        assert actual.hourglass.running == 0
        for some, choice in actual.choices.items():
            assert choice.turn % len(choice.members) == expected.turns.get(some, 0)
            assert choice.cool_until == expected.cool.get(some, {})
