"""A call's way to permission: the rules first, then the person, by a question that a stop closes (E3, E4)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, assert_never

from msgspec import field

from core.base.errors import CaesuraError
from core.base.threads import run_in_thread
from core.base.values import Value
from core.model.provider import Phase
from core.operations.events import Answer, AnswerKind, Notice, Question, QuestionAsked, QuestionClosed
from core.operations.unkilled import UnkilledProcesses
from core.permissions.policy import Denied, Verdict

if TYPE_CHECKING:
    from core.engine.questions import Questions
    from core.operations.events import Event, Shown
    from core.operations.registry import Operation
    from core.permissions.access import Access, Workspace
    from core.permissions.policy import Decision, Permissions

Preview = Callable[[], Awaitable["Shown | None"]]
"""What the call would do; asked for only when the person is."""


class CallPolicy(Value):
    """What calls need of their session, the same for all turns: who may do what, and whom to ask.

    `call_ids` are all that the session has seen: an id never comes twice in one conversation (H4).
    """

    workspace: Workspace
    permissions: Permissions
    questions: Questions
    call_ids: set[str] = field(default_factory=set)
    unkilled: UnkilledProcesses = field(default_factory=UnkilledProcesses)


@dataclass(eq=False)
class Approval:
    """The approval of one call. `asked`: the person is being asked, or was when a stop came."""

    policy: CallPolicy
    emit: Callable[[Event], None]
    turn_id: int
    operation: Operation
    agent: str
    asked: bool = False
    _open_id: str = ""

    async def permit(self, name: str, access: Access, preview: Preview | None = None) -> None:
        """Return if the tool may do this. Raises `Denied`, `Cancelled`, and what the preview raises.

        The rules and the mode that count are those at the end of all this: they are looked at again when
        they have changed meanwhile.
        """
        shown: Shown | None = None
        while True:
            version = self.policy.permissions.version
            decision = await self._decide(name, access)
            if decision.verdict is Verdict.ASK and preview is not None:
                shown, preview = await preview(), None
            if version == self.policy.permissions.version:
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
            self.emit(QuestionClosed(self.turn_id, self._open_id, answer))
            self._open_id = ""

    async def _decide(self, name: str, access: Access) -> Decision:
        decide = partial(self.policy.permissions.decide, name, access)
        return await run_in_thread(decide, name="permission")

    async def _ask(self, name: str, access: Access, decision: Decision, shown: Shown | None) -> None:
        question = Question(
            ask_id=uuid.uuid4().hex[:12],
            call_id=self.operation.call_id,
            tool=name,
            title=self.operation.detail,
            why=decision.why,
            rule="" if decision.offered is None else str(decision.offered),
            preview=shown,
            agent=self.agent,
        )

        refused: list[Decision] = []
        """What the rules say by now, if they deny it: then no person has answered."""

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

        self.operation.token.check()
        self.operation.phase = Phase.WAITING_FOR_APPROVAL
        self.asked, self._open_id = True, question.ask_id
        self.emit(QuestionAsked(self.turn_id, question))
        answer = None
        try:
            answer = await self.policy.questions.ask(question, self.operation.token, again)
        finally:
            self.close(answer)
        self.asked = False
        if refused and answer.kind is AnswerKind.DENY:
            raise Denied(refused[-1].why)
        await self._apply_answer(answer, decision)

    async def _apply_answer(self, answer: Answer, decision: Decision) -> None:
        match answer.kind:
            case AnswerKind.DENY:
                raise Denied("The user did not allow this call.", answer.words)
            case AnswerKind.SESSION | AnswerKind.ALWAYS if decision.offered is not None:
                always = answer.kind is AnswerKind.ALWAYS
                try:
                    remember = partial(self.policy.permissions.remember, decision.offered, always=always)
                    await run_in_thread(remember, name="keep a rule")
                except CaesuraError as error:
                    # It counts for the session all the same.
                    self.emit(Notice(str(error)))
                await self.policy.questions.reconsider()
            case AnswerKind.ONCE | AnswerKind.SESSION | AnswerKind.ALWAYS:
                pass
            case _:
                assert_never(answer.kind)
