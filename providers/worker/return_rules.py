"""Who wants what back: one table for all providers (P8).

From their documentation, and from what their servers answer to those who get it wrong. DeepSeek, Kimi, GLM
and MiniMax want the reasoning of each reply back in the field that it came in, and the first two refuse a
reply with calls that has none, also one of another model. Groq and Cerebras refuse the field. A server at an
address of the person's may be any of these: it gets its own reasoning back in the field that it used.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from core.base.values import Value

CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Anthropic's alphabet, OpenAI's length."""
NINE = re.compile(r"[A-Za-z0-9]{9}")
"""Mistral's."""


class ReturnRules(Value):
    """`takes_reasoning`: whether it takes its reasoning back. `fill`: the field of reasoning that every reply
    must have; empty if none is missed. `call_ids`: the ids that it takes; it always takes those that it made.
    `is_gateway`: its models are of several makers, and what one has sealed is for that one. `folds_thinking`:
    whether reasoning in the text of a reply may be taken out of it. `images_in_results`: whether results of
    tools may hold images, in chat completions as litellm translates them.
    """

    takes_reasoning: bool = True
    fill: str = ""
    call_ids: re.Pattern[str] = CALL_ID
    is_gateway: bool = False
    folds_thinking: bool = True
    images_in_results: bool = False


_PLAIN = ReturnRules()
_WANTS_REASONING = ReturnRules(fill="reasoning_content")
_REFUSES_REASONING = ReturnRules(takes_reasoning=False, is_gateway=True)
_ANY = ReturnRules(is_gateway=True)

_OF_PROVIDER = {
    **dict.fromkeys(("openai", "azure", "gemini", "ollama_chat", "xai"), _PLAIN),
    "anthropic": ReturnRules(images_in_results=True),
    **dict.fromkeys(("deepseek", "moonshot", "zai", "minimax"), _WANTS_REASONING),
    **dict.fromkeys(("groq", "cerebras"), _REFUSES_REASONING),
    "mistral": ReturnRules(call_ids=NINE),
}
_OF_MODEL = (
    (re.compile("deepseek|kimi|moonshot|glm|minimax"), {"fill": "reasoning_content"}),
    # It wants its text back with the reasoning in it.
    (re.compile("minimax"), {"folds_thinking": False}),
    (re.compile("mistral|mixtral|magistral|ministral|codestral|devstral|pixtral"), {"call_ids": NINE}),
)
"""Rules of models by their names, which hold wherever they run."""
GEMINI = ("gemini", "vertex_ai", "vertex_ai_beta")
_NESTS_IMAGES = re.compile(r"gemini-(?![12]\b)\d")
"""Gemini takes images in results from its version 3 on."""
_FILLED = frozenset({"openai", "litellm_proxy", "hosted_vllm", "openai_like", "custom_openai", "openrouter"})
"""Where models of other makers are asked without a schema that refuses a field."""


def rules_for(provider: str, model: str, *, has_own_address: bool) -> ReturnRules:
    """The rules of `model` at `provider`; `has_own_address` if the person has set the address."""
    known = None if provider == "openai" and has_own_address else _OF_PROVIDER.get(provider)
    rules = known or _ANY
    for pattern, changes in _OF_MODEL:
        if pattern.search(model.lower()) and (
            "fill" not in changes or (known is None and provider in _FILLED)
        ):
            rules = replace(rules, **changes)
    if provider in GEMINI and _NESTS_IMAGES.match(model):
        rules = replace(rules, images_in_results=True)
    return rules
