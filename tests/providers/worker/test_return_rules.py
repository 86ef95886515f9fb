"""Who wants what back, as the table has it."""

from __future__ import annotations

import pytest

from providers.worker.return_rules import CALL_ID, NINE, rules_for


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("provider", "model", "has_own_address", "takes_reasoning", "fill", "call_ids"),
    [
        ("deepseek", "deepseek-chat", False, True, "reasoning_content", CALL_ID),
        ("moonshot", "kimi-k2.6", True, True, "reasoning_content", CALL_ID),
        ("openai", "moonshotai/Kimi-K2", True, True, "reasoning_content", CALL_ID),
        ("openai", "gpt-5", False, True, "", CALL_ID),
        ("openai", "a-deepseek-of-ours", False, True, "", CALL_ID),
        ("litellm_proxy", "glm-4.7", True, True, "reasoning_content", CALL_ID),
        ("together_ai", "deepseek-ai/DeepSeek-V4", False, True, "", CALL_ID),
        ("groq", "moonshotai/kimi-k2-instruct", False, False, "", CALL_ID),
        ("cerebras", "zai-glm-4.7", False, False, "", CALL_ID),
        ("mistral", "open-nemo", False, True, "", NINE),
        ("openrouter", "mistralai/devstral-2", False, True, "", NINE),
        ("azure", "my-deployment", True, True, "", CALL_ID),
    ],
)
def test_the_table(
    provider: str, model: str, has_own_address: bool, takes_reasoning: bool, fill: str, call_ids: object
) -> None:
    rules = rules_for(provider, model, has_own_address=has_own_address)
    assert (rules.takes_reasoning, rules.fill, rules.call_ids) == (takes_reasoning, fill, call_ids)


@pytest.mark.promise("P8")
@pytest.mark.parametrize(
    ("provider", "has_own_address", "is_gateway"),
    [
        ("openai", False, False),
        ("openai", True, True),
        ("anthropic", True, False),
        ("gemini", False, False),
        ("openrouter", False, True),
        ("litellm_proxy", True, True),
        ("bedrock", False, True),
    ],
)
def test_where_models_of_several_makers_are(provider: str, has_own_address: bool, is_gateway: bool) -> None:
    assert rules_for(provider, "m", has_own_address=has_own_address).is_gateway is is_gateway


def test_reasoning_stays_in_the_text_of_who_wants_it_there() -> None:
    assert not rules_for("minimax", "MiniMax-M2", has_own_address=False).folds_thinking
    assert not rules_for("openrouter", "minimax/minimax-m2", has_own_address=False).folds_thinking
    assert rules_for("openai", "qwen3", has_own_address=True).folds_thinking
