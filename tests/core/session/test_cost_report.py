"""What `/cost` says: all that was used, once, and nothing that nobody has counted."""

from __future__ import annotations

import pytest

from core.base.values import Value
from core.model.costs import Spend
from core.model.messages import AssistantMessage, Step, Text, Usage
from core.session.cost_report import MOST_TURNS, NAME_CHARACTERS, cost_report
from core.storage.records import Compaction, StoredStep

MODEL = "openai/gpt-5.1"


class Record(Value):
    steps: tuple[StoredStep, ...] = ()
    compactions: tuple[Compaction, ...] = ()
    pending: Spend = Spend()

    @property
    def spending(self) -> Spend:
        spent = self.pending
        for used in self.steps:
            spent = spent.plus(used.usage, used.cost)
        for compaction in self.compactions:
            spent = spent.plus(compaction.usage, compaction.cost)
        return spent


def step(
    turn: int,
    usage: Usage | None,
    cost: float | None,
    *,
    model: str = MODEL,
    beside: Usage | None = None,
) -> StoredStep:
    said = Step((AssistantMessage((Text("said"),), model),), usage)
    return StoredStep(said, turn, 0.0, cost, (), beside)


def cells(report: str, name: str) -> list[str]:
    return next(line.split() for line in report.splitlines() if line.startswith(name))


@pytest.mark.promise("H6")
def test_every_request_counts_once_by_turn_and_by_model() -> None:
    record = Record(
        (
            step(1, Usage(12_000, 500, 8_000), 0.01),
            step(1, Usage(13_000, 12), 0.02),
            step(2, Usage(100, 5), 0.001, model="groq/llama", beside=Usage(900, 15)),
        ),
        (Compaction(1, 2, "summary", 0.0, Usage(5_000, 300), 0.02),),
        Spend(Usage(50, 5), 0.0),
    )
    report = cost_report(record, 1.0)
    assert cells(report, "1 ") == ["1", "2", "25,000", "8,000", "512", "$0.0300"]
    assert cells(report, "2 ") == ["2", "1", "1,000", "0", "20", "$0.0010"]
    assert cells(report, MODEL) == [MODEL, "2", "25,000", "8,000", "512", "$0.0300"]
    assert cells(report, "groq/llama") == ["groq/llama", "1", "1,000", "0", "20", "$0.0010"]
    assert "sub-agents, titles and notes: 900 tokens in, 15 out" in report
    assert "1 compaction: 5,000 tokens in, 300 out, $0.0200" in report
    assert "since the last reply: 50 tokens in, 5 out" in report
    assert "In all: 31,050 tokens in (8,000 of them cached), 837 out, $0.0510." in report
    assert "Of the budget of $1.00, $0.95 is left." in report


@pytest.mark.promise("H6")
def test_what_is_not_known_is_called_so_and_never_nothing() -> None:
    report = cost_report(Record((step(1, Usage(10, 2), 0.5), step(1, None, None), step(2, None, None))), 2.0)
    assert cells(report, "1 ") == ["1", "2", "10+", "0+", "2+", "at", "least", "$0.50"]
    assert cells(report, "2 ") == ["2", "1", "?", "?", "?", "unknown"]
    assert "at most $1.50 is left: a part of the cost is unknown" in report
    assert "has not reported" in report


def test_nothing_used_and_no_budget() -> None:
    assert cost_report(Record(), None) == "Nothing was used yet.\nThere is no budget."


def test_a_long_session_and_long_names_fit_into_80_columns() -> None:
    long = "bedrock/arn:aws:bedrock:eu-west-1:123456789012:inference-profile/" + "x" * 60
    record = Record(tuple(step(turn, Usage(10**7, 10**5), 12.5, model=long) for turn in range(1, 61)))
    report = cost_report(record, None)
    assert cells(report, "1 to 40")[3:5] == ["40", "400,000,000"]
    assert (
        sum(line.split()[:1] == [str(turn)] for line in report.splitlines() for turn in range(41, 61))
        == MOST_TURNS
    )
    assert max(map(len, report.splitlines())) <= 80
    assert f"…{long[1 - NAME_CHARACTERS :]}" in report
