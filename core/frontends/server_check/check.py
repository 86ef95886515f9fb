"""The checks of one server, one after the other, and the settings that it needs.

A request as the settings have it comes first: if that is answered, few questions are left. If it is refused,
all that a server may not take is left out, and added again piece by piece as long as it is answered.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base.secrets import without_login
from core.frontends.doctor.report import Finding, State
from core.frontends.server_check.addresses import other_addresses
from core.model.provider import FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.frontends.server_check.asking import Answer, Questions
    from core.model.provider import ModelError
    from core.model.settings import ServerAddress

    Tell = Callable[[Finding], Awaitable[object]]

LISTED = 5
FIRST_WORD_SHARE = 0.2
"""The share of the limit that the first word may take: for a longer prompt than ours it takes much longer."""
FIRST_WORD_FACTOR = 10
"""How many times its time a proposed limit is."""

_NOT_THERE = frozenset({404, 405})
_MAYBE_AN_OPTION = frozenset(
    {
        FailureKind.BAD_REQUEST,
        FailureKind.SERVER_ERROR,
        FailureKind.UNKNOWN_MODEL,
        FailureKind.BROKEN_STREAM,
        FailureKind.UNKNOWN,
    }
)
"""Failures that may come from something in the request that the server does not take."""
_NO_REFUSAL = frozenset(
    {
        FailureKind.UNREACHABLE,
        FailureKind.NAME_NOT_FOUND,
        FailureKind.UNTRUSTED,
        FailureKind.REDIRECTED,
        FailureKind.TIMED_OUT,
        FailureKind.BROKEN_STREAM,
        FailureKind.PROCESS_DIED,
        FailureKind.UNKNOWN,
    }
)
"""Failures without an answer, or with one that anything else may have given."""
_OPTIONS = (("tools", "Tools"), ("stream", "Streaming"), ("stream_options", "Token counts"))
"""The options that may be left out, and their titles; what matters most is added first."""


class ServerCheck:
    """Checks `server`, whose proposed settings are in `proposed` in the end. `tell` gets each finding."""

    def __init__(self, questions: Questions, server: ServerAddress, tell: Tell) -> None:
        self._questions = questions
        self._tell = tell
        self.proposed = server
        self.is_well = True

    async def run(self) -> None:
        """Raises `Cancelled` when the token of the questions ends it."""
        await self._look_for_models(self.proposed)
        answer = await self._reach()
        failure = answer.failure
        if failure is None:
            await self._tell_options({}, answer)
        elif not self._questions.model and failure.status is not None:
            await self._found("Model", State.BAD, "there is none to ask for: name one with --model")
        elif failure.kind in _MAYBE_AN_OPTION:
            answer = await self._search(failure)
        if answer.failure is not None:
            await self._found("Reply", State.BAD, str(answer.failure))
            return
        await self._judge_first_word(answer)
        await self._judge_reasoning(answer)
        await self._judge_window()

    async def _found(self, title: str, state: State, words: str) -> None:
        self.is_well = self.is_well and state is not State.BAD
        await self._tell(Finding(title, state, words))

    async def _look_for_models(self, server: ServerAddress) -> None:
        listed = await self._questions.models(server)
        names = [offer.info.model.partition("/")[2] for offer in listed.offers]
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        if names:
            await self._found("Models", State.GOOD, f"{', '.join(names[:LISTED])}{more}")
        else:
            words = " ".join(listed.problems) or "Caesura cannot read the list of this protocol"
            await self._found("Models", State.UNKNOWN, words)
        self._questions.model = self._questions.model or next(iter(names), "")

    async def _reach(self) -> Answer:
        """The answer to a request as the settings have it, at their address or at one where it is found."""
        answer = await self._questions.ask(self.proposed)
        if not _is_elsewhere(answer.failure):
            return answer
        for address in other_addresses(self.proposed.api_base, self.proposed.protocol):
            moved = replace(self.proposed, api_base=address)
            if not self._questions.model:
                await self._look_for_models(moved)
            there = await self._questions.ask(moved)
            if _is_here(there.failure):
                here, found = without_login(self.proposed.api_base), without_login(address)
                words = f"the server has nothing at {here}, but answers at {found}"
                await self._found("Address", State.BAD, words)
                self.proposed = moved
                return there
        return answer

    async def _search(self, refusal: ModelError) -> Answer:
        """The answer to a request with all that the server takes."""
        wanted = [name for name, _ in _OPTIONS if getattr(self.proposed, name)]
        fewer = replace(self.proposed, **dict.fromkeys(wanted, False))
        answer = await self._questions.ask(fewer)
        if answer.failure is not None:
            return answer
        refused: dict[str, ModelError] = {}
        for name in wanted:
            if name == "stream_options" and not fewer.stream:
                continue
            more = replace(fewer, **{name: True})
            tried = await self._questions.ask(more)
            if tried.failure is None:
                fewer, answer = more, tried
            else:
                refused[name] = tried.failure
        # What was left out because of something else is not proposed to be left out.
        kept = {name: True for name in wanted if name not in refused}
        self.proposed = replace(fewer, **kept)
        if not refused:
            words = f"a request failed once, but not when it was repeated. {refusal}"
            await self._found("Reply", State.WARNING, words)
        await self._tell_options(refused, answer)
        return answer

    async def _tell_options(self, refused: dict[str, ModelError], answer: Answer) -> None:
        for name, title in _OPTIONS:
            if failure := refused.get(name):
                await self._found(title, State.BAD, f"refused: {_words_of(failure)}")
            elif not getattr(self.proposed, name):
                await self._found(title, State.UNKNOWN, f"not tried: the settings have {name} = false")
            elif name == "stream_options" and not self.proposed.stream:
                await self._found(title, State.UNKNOWN, "not tried: only a stream is asked for them")
            elif name == "stream" and answer.is_whole:
                words = "asked for in pieces, the reply came as a whole"
                await self._found(title, State.WARNING, words)
                self.proposed = replace(self.proposed, stream=False)
            else:
                await self._found(title, State.GOOD, "accepted")

    async def _judge_first_word(self, answer: Answer) -> None:
        limit, took = self.proposed.first_byte_timeout, answer.first_s
        words = f"{self._questions.model} answered after {took:.1f} s; the limit is {limit:g} s"
        if took <= limit * FIRST_WORD_SHARE:
            await self._found("First word", State.GOOD, words)
            return
        longer = 60 * math.ceil(took * FIRST_WORD_FACTOR / 60)
        self.proposed = replace(self.proposed, first_byte_timeout=longer)
        words += ", and a long prompt would take longer"
        await self._found("First word", State.WARNING, words)

    async def _judge_reasoning(self, answer: Answer) -> None:
        if not answer.text.lstrip().startswith("<think>"):
            await self._found("Reasoning", State.GOOD, "not in the text of the reply")
        elif self.proposed.fold_thinking:
            await self._found("Reasoning", State.GOOD, "in the text of the reply, where it is folded")
        else:
            self.proposed = replace(self.proposed, fold_thinking=True)
            await self._found("Reasoning", State.WARNING, "in the text of the reply, and not folded")

    async def _judge_window(self) -> None:
        told = await self._questions.window(self.proposed)
        known = await self._questions.known_window(self.proposed)
        if told is not None and (known is None or known > told):
            here = "nothing is known here" if known is None else f"{known} are assumed here"
            self.proposed = replace(self.proposed, context_window=told)
            words = f"the server says {told} tokens, and {here}"
            await self._found("Context window", State.WARNING, words)
        elif known is not None:
            says = f"{told}" if told is not None else "nothing about it"
            words = f"{known} tokens; the server says {says}"
            await self._found("Context window", State.GOOD, words)
        else:
            words = "the server does not say: set context_window if you know it"
            await self._found("Context window", State.UNKNOWN, words)


def _is_elsewhere(failure: ModelError | None) -> bool:
    """Whether it may be that the server is there and its interface is not at this address."""
    if failure is None:
        return False
    return failure.kind is FailureKind.WEB_PAGE or failure.status in _NOT_THERE


def _is_here(failure: ModelError | None) -> bool:
    """Whether an answer is one of the interface: a reply, or a refusal of one."""
    return failure is None or not (_is_elsewhere(failure) or failure.kind in _NO_REFUSAL)


def _words_of(failure: ModelError) -> str:
    """What the server says of it, or the whole sentence."""
    said = re.search("“.*”", str(failure))
    return said[0] if said else str(failure)
