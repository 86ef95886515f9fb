"""One session with every kind of record and odd values in all of them.

The files in `golden/` were written by the version of 2026-11-30. They must not be written again: later
versions have to read them unchanged.
"""

from __future__ import annotations

from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    Usage,
    UserMessage,
)
from core.model.provider import Closing, ReasoningDelta, TextDelta, ToolCallDelta
from core.operations.events import Outcome, Shown, ShownKind, StopReport
from core.storage.journal import CallBegun, CallIdentified, DraftEntry
from core.storage.records import (
    CallCard,
    Compaction,
    LoadedSession,
    PreImage,
    SessionInfo,
    StoredStep,
    TurnRecord,
)

AT = 1_763_715_600.25
ODD = "half \ud800, \udcff, nul \x00, \u2028, 😀, é, \x1b[31m, </script>, \"'\\"
LARGE = 2**53 + 1
SESSION_ID = "0123456789ab"

REPORTS = (
    StopReport("Esc", 0.125, Closing.CLOSED, (), 0, ()),
    StopReport(ODD, None, None, ("read", ODD), 3, ((7, "sh"), (LARGE, ODD))),
    *(StopReport("SIGTERM", 0.0, closing, (), 0, ()) for closing in Closing),
)

RESULTS = tuple(
    ToolResult(f"call {number}", "shell", status, ODD if number else "")
    for number, status in enumerate(ResultStatus)
)
CALLS = tuple(ToolCall(result.call_id, result.name, '{"broken": "\ud800') for result in RESULTS)

STEPS = (
    StoredStep(
        Step(
            (
                UserMessage(ODD),
                AssistantMessage(
                    (Reasoning("", None), Reasoning(ODD, "c2lnbmVk"), Text(""), Text(ODD), *CALLS),
                    "openai/gpt",
                    FinishReason.TOOL_CALLS,
                ),
                ToolResults(RESULTS),
            ),
            Usage(LARGE, 2, 3, 4),
        ),
        turn=1,
        at=AT,
        cost=1e-07,
        cards=tuple(
            CallCard(result.call_id, ODD, Shown(ODD, kind), seconds, report)
            for result, kind, seconds, report in zip(
                RESULTS,
                (*ShownKind, *ShownKind),
                (None, 0.0, 1.5, 2.0, 1e6),
                (None, *REPORTS),
                strict=False,
            )
        ),
        subagent_usage=Usage(5, 6),
    ),
    *(
        StoredStep(
            Step((UserMessage("and?"), AssistantMessage((), "", finish, interrupted=finish is None))),
            turn=number,
            at=float(int(AT)),
        )
        for number, finish in enumerate((None, *FinishReason), 2)
    ),
)

TURNS = (
    *(
        TurnRecord(number, ODD, AT, continued=True, outcome=outcome, error=ODD, kept=True, proof=REPORTS[1])
        for number, outcome in enumerate(Outcome, 1)
    ),
    TurnRecord(7, "", 0.0),
)

COMPACTIONS = (
    Compaction(1, 1, ODD, AT, Usage(1, 2), 0.5, undone=True, trimmed=2, made_after=3),
    Compaction(2, 0, "", AT, None, None, undone=False, trimmed=0, made_after=0),
)

PIECES: tuple[DraftEntry, ...] = (
    TextDelta(ODD),
    ReasoningDelta("", None),
    ReasoningDelta(ODD, ODD),
    ToolCallDelta(0, "", "call 1", "shell"),
    ToolCallDelta(LARGE, ODD),
    CallIdentified(0, ODD),
    CallBegun("call 1"),
    RESULTS[1],
)

PREIMAGES = (
    PreImage(1, "/w/\udcff", None, "", None),
    PreImage(1, "/w/a", b"\x00\xff", "0" * 64, 0o644),
)

QUEUE = ("next", ODD)

SESSION = LoadedSession(
    SessionInfo(SESSION_ID, "a title", "/w/\udcff", "openai/gpt", AT, AT, len(STEPS)),
    STEPS,
    TURNS,
    COMPACTIONS,
    QUEUE,
    queue_paused=True,
)

RUNNING = TurnRecord(8, "still running", AT)
PROMPT = UserMessage(ODD)
