"""Decides what to do about a context that fills its model: nothing, trim old outputs, summarize old steps.

Only decisions, from the figures of `core.context.window`; they must never wait, ask a model or change
anything. A plan always makes the next request shorter, so that compactions cannot repeat without end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.values import Value
from core.context.window import shown, tokens_of
from core.operations.events import Action, Trigger

if TYPE_CHECKING:
    from core.context.window import Context, TokenBudget

RECENT = 4
"""Recent steps, whose outputs are trimmed only if nothing else is left to do."""
_KEPT = 0.2
"""Part of the budget that the latest steps, which are kept unchanged, may take."""
_WORTH = 0.1
"""Part of the budget that a summary must replace if it is not urgent."""
_TRIM_TO = 0.6
"""Part of the budget to trim down to; with more, trimming would soon be due again."""
_TRIM_WORTH = 0.05
_SURE = 0.8
"""Part of the saved tokens that is relied on; the estimate is rather too high."""


class Plan(Value):
    """The compaction to make: `upto` and `trimmed` are those of its record."""

    action: Action
    upto: int = 0
    trimmed: int = 0


NOTHING, FULL = Plan(Action.NOTHING), Plan(Action.FULL)


def decide(context: Context, room: TokenBudget | None, trigger: Trigger) -> Plan:
    """What to do about `context`. Without a known `room` nothing happens automatically."""
    used = context.tokens()
    if trigger is Trigger.AUTOMATIC and (room is None or used <= room.threshold):
        return NOTHING
    most = used if room is None else min(used, room.full)
    if trigger is Trigger.ASKED:
        return _summarise(context, most, asked=True) or NOTHING
    overdue = trigger is Trigger.REFUSED or room is None or used > room.full
    plan = _trim(context, used, len(context.steps) - RECENT, to=_TRIM_TO * most)
    plan = plan or _summarise(context, most, worth=0 if overdue else _WORTH * most)
    if plan is None and overdue:
        plan = _trim(context, used, len(context.steps), to=most)
    if plan is not None:
        return plan
    # Where the estimate may be wrong the provider decides.
    certain = trigger is Trigger.REFUSED or (room is not None and room.surely_exceeded(used))
    return FULL if certain else NOTHING


def _trim(context: Context, used: int, trimmed: int, *, to: float) -> Plan | None:
    """Trim before step `trimmed`, if that saves enough and comes down `to` this number of tokens."""
    if trimmed <= max(context.upto, context.trimmed):
        return None
    behind = range(context.upto, trimmed)
    saved = _SURE * (_tokens(context, behind, context.trimmed) - _tokens(context, behind, trimmed))
    if saved < _TRIM_WORTH * used or used - saved > to:
        return None
    return Plan(Action.TRIM, context.upto, trimmed)


def _summarise(context: Context, most: int, *, worth: float = 0, asked: bool = False) -> Plan | None:
    """Summarize all but the latest steps, if that is worth a request and the rest fits."""
    count, upto = len(context.steps), context.upto
    conversation = _tokens(context, range(upto, count), context.trimmed)
    budget = _KEPT * min(most, conversation)
    first_kept = _first_kept(context, budget)
    if first_kept <= upto or _tokens(context, range(upto, first_kept), context.trimmed) < worth:
        return None
    trimmed = max(first_kept, context.trimmed)
    if asked:
        return Plan(Action.SUMMARISE, first_kept, trimmed)
    beside = context.overhead + tokens_of(context.pending)
    kept = range(first_kept, count)
    if beside + _tokens(context, kept, trimmed) > _TRIM_TO * most:
        trimmed = count
    if beside + _tokens(context, kept, trimmed) > most:
        return None
    return Plan(Action.SUMMARISE, first_kept, trimmed)


def _first_kept(context: Context, budget: float) -> int:
    """The first of the latest steps that fit into `budget`; the very last is always kept."""
    first = last = len(context.steps) - 1
    tokens = 0
    for number in range(last, context.upto - 1, -1):
        tokens += _tokens(context, range(number, number + 1), context.trimmed)
        if tokens > budget and number < last:
            break
        first = number
    return first


def _tokens(context: Context, numbers: range, trimmed: int) -> int:
    return sum(tokens_of(shown(context.steps, number, trimmed)) for number in numbers)
