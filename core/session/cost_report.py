"""What a session has used and cost, as text for a person: by turn, by model, beside the replies, in all.

Only what the records say: nothing is estimated, what is not known is called unknown, and a sum with such a
part in it says "at least".

Not solved: what sub-agents and jobs (titles, notes) have used is recorded with the reply that was committed
next, so that it counts with that reply's turn and model, and their share of its cost cannot be told apart;
their tokens can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.values import Value
from core.model.costs import Spend, format_dollars
from core.model.messages import Usage
from core.session.history import total_spend
from core.storage.records import NOTHING_USED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.session.history import History
    from core.storage.records import StoredStep

MOST_TURNS = 20
"""The turns that have a row of their own; those before share one."""

NAME_CHARACTERS = 24
"""What of a model's name is shown, so that its row fits into 80 columns."""

_HEAD = ("requests", "in", "cached", "out", "cost")
_UNKNOWN = "?"


class _Row(Value):
    """`uncounted` are requests of `requests` whose tokens nobody has reported."""

    name: str
    requests: int
    uncounted: int
    spent: Spend

    @property
    def cells(self) -> tuple[str, ...]:
        usage = self.spent.usage
        tokens: tuple[str, ...]
        if self.requests and self.uncounted == self.requests:
            tokens = (_UNKNOWN,) * 3
        else:
            counts = (usage.input_tokens, usage.cached_tokens, usage.output_tokens)
            tokens = tuple(f"{count:,}{'+' if self.uncounted else ''}" for count in counts)
        return self.name, f"{self.requests:,}", *tokens, str(self.spent)


def cost_report(record: History, budget: float | None) -> str:
    """The report as lines of plain text. `budget` is in dollars, None without one."""
    steps = record.steps
    if not steps and not record.compactions and record.spending == Spend():
        return f"Nothing was used yet.\n{_budget(record.spending, budget)}"
    parts = [_table("turn", _by_turn(steps)), _table("model", _by_model(steps))]
    parts.append("\n".join(_beside(record)))
    spent = record.spending
    parts.append(f"In all: {_tokens(spent.usage)}, {spent}.\n{_budget(spent, budget)}")
    if any(step.step.usage is None for step in steps):
        parts.append("? and + mark requests whose tokens the provider has not reported.")
    return "\n\n".join(part for part in parts if part)


def _row(name: str, steps: Sequence[StoredStep]) -> _Row:
    return _Row(name, len(steps), sum(step.step.usage is None for step in steps), total_spend(steps))


def _by_turn(steps: Sequence[StoredStep]) -> list[_Row]:
    turns = _grouped((str(step.turn), step) for step in steps)
    names = list(turns)
    early, late = names[:-MOST_TURNS], names[-MOST_TURNS:]
    rows = [_row(name, turns[name]) for name in late]
    if early:
        rows.insert(0, _row(f"{early[0]} to {early[-1]}", [step for name in early for step in turns[name]]))
    return rows


def _by_model(steps: Sequence[StoredStep]) -> list[_Row]:
    models = _grouped((step.step.model or "unknown", step) for step in steps)
    return [_row(_short(name), mine) for name, mine in models.items()]


def _short(name: str) -> str:
    """Its end says more than its beginning: that names the provider."""
    return name if len(name) <= NAME_CHARACTERS else f"…{name[1 - NAME_CHARACTERS :]}"


def _grouped(named: Iterable[tuple[str, StoredStep]]) -> dict[str, list[StoredStep]]:
    groups: dict[str, list[StoredStep]] = {}
    for name, step in named:
        groups.setdefault(name, []).append(step)
    return groups


def _table(title: str, rows: Sequence[_Row]) -> str:
    if not rows:
        return ""
    lines = [(title, *_HEAD), *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _beside(record: History) -> list[str]:
    """What was used by other requests than those for replies."""
    lines = []
    beside = [usage for step in record.steps if (usage := step.subagent_usage) is not None]
    if beside:
        lines.append(f"Of that, sub-agents, titles and notes: {_tokens(sum(beside, NOTHING_USED))}.")
    paid = [compaction for compaction in record.compactions if compaction.summary]
    if paid:
        spent = total_spend(paid)
        times = "1 compaction" if len(paid) == 1 else f"{len(paid)} compactions"
        lines.append(f"Besides, {times}: {_tokens(spent.usage)}, {spent}.")
    # It counts with the next step.
    counted = total_spend((*record.steps, *record.compactions)).usage
    total = record.spending.usage
    rest = Usage(
        total.input_tokens - counted.input_tokens,
        total.output_tokens - counted.output_tokens,
        total.cached_tokens - counted.cached_tokens,
    )
    if rest.input_tokens > 0 or rest.output_tokens > 0:
        lines.append(f"Besides, since the last reply: {_tokens(rest)}.")
    return lines


def _tokens(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens:,} of them cached)" if usage.cached_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"


def _budget(spent: Spend, budget: float | None) -> str:
    if budget is None:
        return "There is no budget."
    left = format_dollars(max(0.0, budget - spent.known))
    if spent.part_unknown:
        left = f"at most {left} is left: a part of the cost is unknown"
    else:
        left = f"{left} is left"
    return f"Of the budget of {format_dollars(budget)}, {left}."
