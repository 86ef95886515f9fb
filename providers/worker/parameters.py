"""Decides which of the user's parameters a model takes, and in which form.

litellm silently leaves out what a model does not take, so it is asked for the result; a parameter that
changes nothing in it is *dropped* and named, so that the user can be told. This module knows the parameters
that litellm passes on although the provider would refuse them. A model that is not in the catalog gets all
that litellm has a name for. Pure functions; litellm is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from core.base.values import Value
from core.model.provider import AS_IT_IS, Effort, Parameters
from providers.catalog import describe

Mapped = Callable[[Parameters], Mapping[str, Any] | None]
"""What litellm would send for these parameters; None if it raises an error for them."""

_NEAREST = {
    Effort.NONE: (Effort.NONE, Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH),
    Effort.MINIMAL: (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH),
    Effort.LOW: (Effort.LOW, Effort.MINIMAL, Effort.MEDIUM, Effort.HIGH),
    Effort.MEDIUM: (Effort.MEDIUM, Effort.LOW, Effort.HIGH, Effort.MINIMAL),
    Effort.HIGH: (Effort.HIGH, Effort.MEDIUM, Effort.LOW, Effort.MINIMAL),
}
"""Replacements for an effort that does not exist, the nearest first."""

LEAST_TOP_P_OF_A_THOUGHT = 0.95
"""Anthropic's minimum while a model thinks; the temperature must be 1 then."""


class Fitted(Value):
    """`given` are the parameters of the request, `dropped` the names of those that were set but are not in
    it."""

    given: Parameters = AS_IT_IS
    dropped: tuple[str, ...] = ()


class Model(Value):
    """`name` is the provider's own, `entry` the cost map's or None, `mapped` litellm's answer."""

    name: str
    provider: str
    entry: Mapping[str, object] | None
    mapped: Mapped

    @property
    def is_claude(self) -> bool:
        return self.provider == "anthropic" or "claude" in self.name


def fit(asked: Parameters, model: Model) -> Fitted:
    """`asked` as `model` takes it. litellm is not called if no parameter is set."""
    if asked == AS_IT_IS:
        return Fitted()
    given = replace(asked, effort=_effort(asked, model))
    sent = model.mapped(given)
    if model.is_claude:
        given = _for_claude(given, thinks=_thinks(sent or {}))
        sent = model.mapped(given)
    for name in ("temperature", "top_p", "max_output"):
        if sent is not None and not _has_effect(name, given, sent, model):
            given = replace(given, **{name: None})
    # A model that cannot reason fulfills `Effort.NONE` anyway.
    dropped = tuple(
        name
        for name in Parameters.__struct_fields__
        if getattr(given, name) is None and getattr(asked, name) not in (None, Effort.NONE)
    )
    if _thinks(sent or {}) and model.is_claude and given.max_output is None and model.entry is not None:
        # Otherwise litellm leaves it 4,096 tokens for all it writes after thinking.
        given = replace(given, max_output=describe(model.name, model.entry).max_output)
    return Fitted(given, dropped)


def _has_effect(name: str, given: Parameters, sent: Mapping[str, Any], model: Model) -> bool:
    value = getattr(given, name)
    if value is None or sent.get(name) == value or (name == "max_output" and value in sent.values()):
        return True
    return sent != model.mapped(replace(given, **{name: None}))


def _effort(asked: Parameters, model: Model) -> Effort | None:
    """The requested effort, or the nearest that the model has, or None if it has none."""
    if asked.effort is None:
        return None
    without = model.mapped(replace(asked, effort=None))
    for effort in _NEAREST[asked.effort]:
        sent = model.mapped(replace(asked, effort=effort))
        if effort is Effort.NONE and model.is_claude:
            return None
        if sent is not None and sent != without and _is_taken(effort, sent, model):
            return effort
    return None


def _is_taken(effort: Effort, sent: Mapping[str, Any], model: Model) -> bool:
    if "reasoning" in sent and _get(sent, "reasoning") is None:
        return False
    if model.entry is None:
        return True
    levels = model.entry.get("reasoning_effort_levels")
    if isinstance(levels, list) and effort not in levels:
        return False
    if model.provider == "ollama_chat":
        # The catalog does not state which of Ollama's models think; it has only a few old ones.
        return model.entry.get("supports_reasoning") is True or model.name.startswith("gpt-oss")
    budget, most = _get(sent, "thinking", "budget_tokens"), sent.get("max_tokens", sent.get("maxTokens"))
    if isinstance(budget, int) and isinstance(most, int) and budget >= most:
        return False
    if effort is Effort.NONE and "gemini-2.5-pro" in model.name:
        return False
    as_it_is = effort in (sent.get("reasoning_effort"), _get(sent, "reasoning"))
    if as_it_is and effort in (Effort.NONE, Effort.MINIMAL):
        # litellm passes these on even to some models that do not know them.
        return isinstance(levels, list) or model.entry.get(f"supports_{effort}_reasoning_effort") is True
    return True


def _for_claude(given: Parameters, *, thinks: bool) -> Parameters:
    """Remove what Claude refuses: a temperature while it thinks, and a top_p together with a temperature."""
    temperature, top_p = given.temperature, given.top_p
    if thinks:
        temperature = temperature if temperature == 1 else None
        top_p = top_p if top_p is not None and top_p >= LEAST_TOP_P_OF_A_THOUGHT else None
    return replace(given, temperature=temperature, top_p=None if temperature is not None else top_p)


def _thinks(sent: Mapping[str, Any]) -> bool:
    return _get(sent, "thinking", "type") in ("enabled", "adaptive")


def _get(sent: Mapping[str, Any], name: str, item: str = "effort") -> object:
    value = sent.get(name)
    return value.get(item) if isinstance(value, Mapping) else None


def chat_parameters(given: Parameters) -> dict[str, Any]:
    """The parameters under litellm's names, which it translates for each provider; unset ones are missing."""
    return _set(
        reasoning_effort=None if given.effort is None else given.effort.value,
        temperature=given.temperature,
        top_p=given.top_p,
        max_tokens=given.max_output,
    )


def responses_parameters(given: Parameters) -> dict[str, Any]:
    """Parameters of the Responses API. Reasoning is also requested to be shown: otherwise nothing appears for
    minutes."""
    match given.effort:
        case None:
            reasoning = None
        case Effort.NONE:
            reasoning = {"effort": Effort.NONE.value}
        case effort:
            reasoning = {"effort": effort.value, "summary": "auto"}
    return _set(
        reasoning=reasoning,
        temperature=given.temperature,
        top_p=given.top_p,
        max_output_tokens=given.max_output,
    )


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
