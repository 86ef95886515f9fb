"""What a session has used and cost, as text for a person: by turn, by model, beside the replies, in all.

Only what the records say: nothing is estimated, what is not known is called unknown, and a sum with such a
part in it says "at least".

Not solved: what sub-agents and jobs (titles, notes) have used is recorded with the reply that was committed
next, so that it counts with that reply's turn and model, and their share of its cost cannot be told apart;
their tokens can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from core.costs import Spending, format_dollars
from core.messages import Usage
from core.records import add_usage
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.records import Compaction, StoredStep

MOST_TURNS = 20
"""The turns that have a row of their own; those before share one."""

NAME_CHARACTERS = 24
"""What of a model's name is shown, so that its row fits into 80 columns."""

_HEAD = ("requests", "in", "cached", "out", "cost")
_UNKNOWN = "?"


class Spent(Protocol):
    """What is read of a session: `core.history.History`."""

    @property
    def steps(self) -> tuple[StoredStep, ...]: ...

    @property
    def compactions(self) -> tuple[Compaction, ...]: ...

    @property
    def spending(self) -> Spending:
        """All of it, what is not yet part of a step included."""
        ...


@dataclass(frozen=True, slots=True)
class _Row:
    """`uncounted` are requests of `requests` whose tokens nobody has reported."""

    name: str
    requests: int
    uncounted: int
    spent: Spending

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


def cost_report(record: Spent, budget: float | None) -> str:
    """The report as lines of plain text. `budget` is in dollars, None without one."""
    steps = record.steps
    if not steps and not record.compactions and record.spending == Spending():
        return "\n".join(("Nothing was used yet.", *_budget(record.spending, budget)))
    parts = [_table("turn", _by_turn(steps)), _table("model", _by_model(steps))]
    beside = _beside(record)
    parts += ["\n".join(beside)] if beside else []
    parts.append("\n".join((_total(record.spending), *_budget(record.spending, budget))))
    if any(step.step.usage is None for step in steps):
        parts.append("? and + mark requests whose tokens the provider has not reported.")
    return "\n\n".join(part for part in parts if part)


def _row(name: str, steps: Iterable[StoredStep]) -> _Row:
    spent, requests, uncounted = Spending(), 0, 0
    for step in steps:
        spent = spent.plus(step.usage, step.cost)
        requests += 1
        uncounted += step.step.usage is None
    return _Row(name, requests, uncounted, spent)


def _by_turn(steps: Sequence[StoredStep]) -> list[_Row]:
    turns = _grouped((str(step.turn), step) for step in steps)
    names = list(turns)
    early, late = names[:-MOST_TURNS], names[-MOST_TURNS:]
    before = (
        [_row(f"{early[0]} to {early[-1]}", (step for name in early for step in turns[name]))]
        if early
        else []
    )
    return before + [_row(name, turns[name]) for name in late]


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


def _beside(record: Spent) -> list[str]:
    """What was used by other requests than those for replies."""
    usage: Usage | None = None
    for step in record.steps:
        usage = add_usage(usage, step.beside)
    lines = [] if usage is None else [f"Of that, sub-agents, titles and notes: {_tokens(usage)}."]
    paid = [compaction for compaction in record.compactions if compaction.summary]
    if paid:
        spent = Spending()
        for compaction in paid:
            spent = spent.plus(compaction.usage, compaction.cost)
        times = "1 compaction" if len(paid) == 1 else f"{len(paid)} compactions"
        lines.append(f"Besides, {times}: {_tokens(spent.usage)}, {spent}.")
    pending = _not_yet_counted(record)
    if pending is not None:
        lines.append(f"Besides, since the last reply: {_tokens(pending)}.")
    return lines


def _not_yet_counted(record: Spent) -> Usage | None:
    """What was used since the last step; it counts with the next one."""
    known = Usage(0, 0)
    counted = (*(step.usage for step in record.steps), *(each.usage for each in record.compactions))
    for usage in counted:
        known = known if usage is None else known + usage
    total = record.spending.usage
    rest = Usage(
        total.input_tokens - known.input_tokens,
        total.output_tokens - known.output_tokens,
        total.cached_tokens - known.cached_tokens,
    )
    return rest if rest.input_tokens > 0 or rest.output_tokens > 0 else None


def _total(spent: Spending) -> str:
    return f"In all: {_tokens(spent.usage)}, {spent}."


def _tokens(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens:,} of them cached)" if usage.cached_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"


def _budget(spent: Spending, budget: float | None) -> tuple[str, ...]:
    if budget is None:
        return ("There is no budget.",)
    left = format_dollars(max(0.0, budget - spent.known))
    if spent.part_unknown:
        left = f"at most {left} is left: a part of the cost is unknown"
    else:
        left = f"{left} is left"
    return (f"Of the budget of {format_dollars(budget)}, {left}.",)
