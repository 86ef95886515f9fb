"""A call's way to permission: the rules first, then the person, by a question that a stop closes (E3, E4)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, assert_never

from core.errors import CaesuraError
from core.events import Answer, AnswerKind, Notice, Question, QuestionAsked, QuestionClosed
from core.model import Phase
from core.permissions import Denied, Verdict
from core.threads import run_in_thread
from core.values import dataclass

if TYPE_CHECKING:
    from core.access import Access, Workspace
    from core.events import Event, Shown
    from core.operations import Operation
    from core.permissions import Decision, Permissions
    from core.processes import Survivor
    from core.questions import Questions

Preview = Callable[[], Awaitable["Shown | None"]]
"""What the call would do; asked for only when the person is."""


async def no_preview() -> Shown | None:
    return None


@dataclass(frozen=True, slots=True)
class Desk:
    """What calls need of their session, the same for all turns: who may do what, and whom to ask.

    `call_ids` are all that the session has seen: an id never comes twice in one conversation (H4).
    """

    workspace: Workspace
    permissions: Permissions
    questions: Questions
    call_ids: set[str] = field(default_factory=set)
    survivors: dict[int, Survivor] = field(default_factory=dict)
    """Processes that refused to end, by their id."""


class Approval:
    """That of one call. `asked` tells whether the person is being asked, or was when a stop came."""

    def __init__(
        self, desk: Desk, emit: Callable[[Event], None], turn_id: int, operation: Operation, agent: str
    ) -> None:
        self._desk = desk
        self._emit = emit
        self._turn_id = turn_id
        self._operation = operation
        self._agent = agent
        self._open_id = ""
        self.asked = False

    async def permit(self, name: str, access: Access, preview: Preview = no_preview) -> None:
        """Return if the tool may do this. Raises `Denied`, `Cancelled`, and what the preview raises.

        The rules and the mode that count are those at the end of all this: they are looked at again when
        they have changed meanwhile.
        """
        shown: Shown | None = None
        previewed = False
        while True:
            version = self._desk.permissions.version
            decision = await self._decide(name, access)
            if decision.verdict is Verdict.ASK and not previewed:
                shown, previewed = await preview(), True
            if version == self._desk.permissions.version:
                break
        match decision.verdict:
            case Verdict.ALLOW:
                return
            case Verdict.DENY:
                raise Denied(decision.why)
            case Verdict.ASK:
                await self._ask(name, access, decision, shown)
            case _:
                assert_never(decision.verdict)

    def close(self, answer: Answer | None = None) -> None:
        """The question is open no more; without an answer, because of a stop."""
        if self._open_id:
            self._emit(QuestionClosed(self._turn_id, self._open_id, answer))
            self._open_id = ""

    async def _decide(self, name: str, access: Access) -> Decision:
        decide = partial(self._desk.permissions.decide, name, access)
        return await run_in_thread(decide, name="permission")

    async def _ask(self, name: str, access: Access, decision: Decision, shown: Shown | None) -> None:
        question = Question(
            ask_id=uuid.uuid4().hex[:12],
            call_id=self._operation.call_id,
            tool=name,
            title=self._operation.detail,
            why=decision.why,
            rule="" if decision.offered is None else str(decision.offered),
            preview=shown,
            agent=self._agent,
        )

        refused: list[Decision] = []
        """What the rules say by now, where that is no: then nobody has answered."""

        async def again() -> Answer | None:
            now = await self._decide(name, access)
            match now.verdict:
                case Verdict.ALLOW:
                    return Answer(AnswerKind.ONCE)
                case Verdict.DENY:
                    refused.append(now)
                    return Answer(AnswerKind.DENY)
                case Verdict.ASK:
                    return None
                case _:
                    assert_never(now.verdict)

        self._operation.token.check()
        self._operation.enter(Phase.WAITING_FOR_APPROVAL)
        self.asked, self._open_id = True, question.ask_id
        self._emit(QuestionAsked(self._turn_id, question))
        answer = None
        try:
            answer = await self._desk.questions.ask(question, self._operation.token, again)
        finally:
            self.close(answer)
        self.asked = False
        if refused and answer.kind is AnswerKind.DENY:
            raise Denied(refused[-1].why)
        await self._heed(answer, decision)

    async def _heed(self, answer: Answer, decision: Decision) -> None:
        match answer.kind:
            case AnswerKind.DENY:
                raise Denied("The user did not allow this call.", answer.words)
            case AnswerKind.SESSION | AnswerKind.ALWAYS if decision.offered is not None:
                always = answer.kind is AnswerKind.ALWAYS
                try:
                    remember = partial(self._desk.permissions.remember, decision.offered, always=always)
                    await run_in_thread(remember, name="keep a rule")
                except CaesuraError as error:
                    # It counts for the session all the same.
                    self._emit(Notice(str(error)))
                await self._desk.questions.reconsider()
            case AnswerKind.ONCE | AnswerKind.SESSION | AnswerKind.ALWAYS:
                pass
            case _:
                assert_never(answer.kind)
