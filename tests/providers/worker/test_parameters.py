"""What a person sets for a model reaches the server as it was asked for, in every protocol; what the model
does not take is left out and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from core.model.messages import UserMessage
from core.model.provider import (
    AS_IT_IS,
    Effort,
    Finished,
    ModelRequest,
    Parameters,
    ParametersDropped,
    PhaseChanged,
    TextDelta,
    ToolSpec,
)
from core.model.server_options import ServerOptions
from providers.worker.parameters import Fitted, Model, fit
from tests.providers.harness import Asked, calls_of
from tests.servers.base import ThreadedServer
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Refusal, Refuse, Script
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.client.model_process import ModelProcess
    from tests.servers.base import Server

Body = dict[str, Any]
ALL = Parameters(Effort.HIGH, 0.5, 0.9, 9000)
SAMPLING = Parameters(temperature=0.5, top_p=0.9, max_output=100)
NOTHING: tuple[str, ...] = ()
both_forms = pytest.mark.parametrize("streaming", [True, False], ids=["stream", "whole"])

CASES: list[tuple[str, str, Parameters, Body, tuple[str, ...]]] = [
    # protocol, model, asked, what is in the body beyond that of a request without them, what is dropped
    (
        "openai", "openai/gpt-4o", SAMPLING,
        {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100}, NOTHING,
    ),
    ("openai", "openai/gpt-4o", Parameters(Effort.HIGH), {}, ("effort",)),
    ("openai", "openai/gpt-4o", Parameters(Effort.NONE), {}, NOTHING),
    (
        "openai", "openai/o3", ALL,
        {"reasoning_effort": "high", "max_completion_tokens": 9000}, ("temperature", "top_p"),
    ),
    ("openai", "openai/o3", Parameters(Effort.NONE), {"reasoning_effort": "low"}, NOTHING),
    ("openai", "openai/gpt-5", Parameters(Effort.NONE), {"reasoning_effort": "minimal"}, NOTHING),
    ("openai", "openai/gpt-5.1", Parameters(Effort.MINIMAL), {"reasoning_effort": "low"}, NOTHING),
    (
        "openai", "openai/gpt-5.1", Parameters(Effort.NONE, temperature=0.5),
        {"reasoning_effort": "none", "temperature": 0.5}, NOTHING,
    ),
    (
        "openai", "openai/never-heard-of", ALL,
        {"reasoning_effort": "high", "temperature": 0.5, "top_p": 0.9, "max_tokens": 9000}, NOTHING,
    ),
    (
        "azure", "azure/gpt-4o", SAMPLING,
        {"temperature": 0.5, "top_p": 0.9, "max_tokens": 100}, NOTHING,
    ),
    (
        "azure", "azure/our-deployment", ALL,
        {"reasoning_effort": "high", "temperature": 0.5, "top_p": 0.9, "max_tokens": 9000}, NOTHING,
    ),
    (
        "anthropic", "anthropic/claude-sonnet-4-5", Parameters(temperature=0.5, max_output=100),
        {"temperature": 0.5, "max_tokens": 100}, NOTHING,
    ),
    ("anthropic", "anthropic/claude-sonnet-4-5", Parameters(top_p=0.9), {"top_p": 0.9}, NOTHING),
    (
        "anthropic", "anthropic/claude-sonnet-4-5", ALL,
        {"thinking": {"type": "enabled", "budget_tokens": 4096}, "max_tokens": 9000},
        ("temperature", "top_p"),
    ),
    (
        "anthropic", "anthropic/claude-sonnet-4-5", Parameters(Effort.HIGH),
        {"thinking": {"type": "enabled", "budget_tokens": 4096}}, NOTHING,
    ),
    (
        # A thought must be shorter than the reply.
        "anthropic", "anthropic/claude-sonnet-4-5", Parameters(Effort.HIGH, max_output=3000),
        {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 3000}, NOTHING,
    ),
    (
        "anthropic", "anthropic/claude-sonnet-4-5", Parameters(Effort.LOW, max_output=500),
        {"max_tokens": 500}, ("effort",),
    ),
    ("anthropic", "anthropic/claude-sonnet-4-5", Parameters(Effort.NONE), {}, NOTHING),
    (
        "gemini", "gemini/gemini-2.5-flash", ALL,
        {
            "generationConfig": {
                "temperature": 0.5, "topP": 0.9, "maxOutputTokens": 9000,
                "thinkingConfig": {"thinkingBudget": 4096, "includeThoughts": True},
            }
        }, NOTHING,
    ),
    (
        "gemini", "gemini/gemini-2.5-pro", Parameters(Effort.NONE),
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 128, "includeThoughts": True}}}, NOTHING,
    ),
    (
        "ollama", "ollama_chat/llama3.1", ALL,
        {"options": {"temperature": 0.5, "top_p": 0.9, "num_predict": 9000}}, ("effort",),
    ),
    ("ollama", "ollama_chat/qwen-of-tomorrow", Parameters(Effort.LOW), {"think": True}, NOTHING),
    (
        "responses", "openai/responses/gpt-5", ALL,
        {"reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 9000},
        ("temperature", "top_p"),
    ),
    (
        "responses", "openai/responses/gpt-5", Parameters(Effort.NONE),
        {"reasoning": {"effort": "minimal", "summary": "auto"}}, NOTHING,
    ),
    (
        "responses", "openai/responses/gpt-5.1", Parameters(Effort.NONE, 0.5),
        {"reasoning": {"effort": "none"}, "temperature": 0.5}, NOTHING,
    ),
    (
        "responses", "openai/responses/gpt-4o", ALL,
        {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 9000}, ("effort",),
    ),
    (
        "responses", "openai/responses/never-heard-of", ALL,
        {
            "reasoning": {"effort": "high", "summary": "auto"},
            "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 9000,
        }, NOTHING,
    ),
    (
        "openai", "litellm_proxy/gpt-5", ALL,
        {"reasoning_effort": "high", "temperature": 0.5, "top_p": 0.9, "max_tokens": 9000}, NOTHING,
    ),
]  # fmt: skip


def name_of(case: object) -> str:
    match case:
        case str():
            return case.rpartition("/")[2]
        case Parameters():
            return " ".join(
                f"{it}" for it in (case.effort, case.temperature, case.max_output) if it is not None
            )
        case _:
            return ""


async def body_of(
    model: ModelProcess, server: Server, name: str, parameters: Parameters, *, streaming: bool
) -> tuple[Mapping[str, Any], Asked]:
    asking = ModelRequest(
        name,
        (UserMessage("hi"),),
        api_base=server.url,
        server=ServerOptions(first_byte_timeout=GENEROUS_S, idle_timeout=GENEROUS_S),
        streaming=streaming,
        parameters=parameters,
    )
    asked = Asked(model, asking)
    outcome = await asked.outcome()
    assert isinstance(outcome, Finished), outcome
    return server.exchanges[-1].request.body, asked


@both_forms
@pytest.mark.parametrize(("protocol", "name", "parameters", "expected", "dropped"), CASES, ids=name_of)
async def test_what_is_asked_for_is_in_the_request_and_nothing_else(
    model: ModelProcess,
    protocol: str,
    name: str,
    parameters: Parameters,
    expected: Body,
    dropped: tuple[str, ...],
    streaming: bool,
) -> None:
    with ThreadedServer(PROTOCOLS[protocol].server()) as server:
        plain, unset = await body_of(model, server, name, AS_IT_IS, streaming=streaming)
        body, asked = await body_of(model, server, name, parameters, streaming=streaming)
    assert {key: value for key, value in body.items() if plain.get(key) != value} == expected
    assert plain.keys() <= body.keys()
    assert not any(isinstance(delta, ParametersDropped) for delta in unset.deltas)
    told = [delta for delta in asked.deltas if isinstance(delta, ParametersDropped)]
    assert told == ([ParametersDropped(name, dropped)] if dropped else [])


async def test_what_is_dropped_is_told_before_anything_of_the_reply_and_by_no_refusal(
    model: ModelProcess,
) -> None:
    asking = ModelRequest("openai/gpt-5", (UserMessage("hi"),), parameters=Parameters(temperature=0.5))
    with ThreadedServer(PROTOCOLS["openai"].server(Script(fault=Refuse(Refusal.OVERLOADED)))) as server:
        asking = replace(asking, api_base=server.url)
        refused = Asked(model, asking)
        await refused.failure()
        server.script = Script()
        asked = Asked(model, asking)
        await asked.outcome()
    assert all(isinstance(delta, PhaseChanged) for delta in refused.deltas)
    kinds = [type(delta) for delta in asked.deltas]
    assert kinds.index(ParametersDropped) < kinds.index(TextDelta)


READ = ToolSpec("read", "Read a file.", '{"type": "object", "properties": {}}')


async def test_a_model_that_nobody_has_heard_of_answers_with_tools_and_parameters(
    model: ModelProcess,
) -> None:
    name = "openai/qwerty-17b:latest"
    info = await model.describe(name)
    assert (info.context_window, info.tools, info.input_price) == (None, None, None)
    with ThreadedServer(PROTOCOLS["openai"].server(Script(calls=(Call("call_1", "read"),)))) as server:
        asked = Asked(
            model,
            ModelRequest(
                name,
                (UserMessage("hi"),),
                api_base=server.url,
                tools=(READ,),
                parameters=Parameters(top_p=0.5),
            ),
        )
        assert isinstance(await asked.outcome(), Finished)
        body = server.exchanges[0].request.body
    assert calls_of(asked.deltas) == [("call_1", "read", "{}")]
    assert body["model"] == "qwerty-17b:latest"
    assert body["top_p"] == 0.5
    assert [tool["function"]["name"] for tool in body["tools"]] == ["read"]


@pytest.mark.parametrize(
    ("name", "effort"), [("openai/gpt-5.5", Effort.HIGH), ("openai/gpt-5-pro", None)], ids=["tools", "alone"]
)
async def test_what_chat_completions_do_not_do_is_asked_of_the_responses_api(
    model: ModelProcess, name: str, effort: Effort | None
) -> None:
    """By us and not by litellm, which would lose the reasoning that goes back with the next request."""
    script = Script(reasoning=("Hm.",), calls=(Call("call_1", "read"),))
    with ThreadedServer(PROTOCOLS["responses"].server(script)) as server:
        asked = Asked(
            model,
            ModelRequest(
                name, (UserMessage("hi"),), api_base=server.url, tools=(READ,), parameters=Parameters(effort)
            ),
        )
        assert isinstance(await asked.outcome(), Finished)
        body = server.exchanges[0].request.body
    assert body["include"] == ["reasoning.encrypted_content"]
    assert any(getattr(delta, "signature", None) for delta in asked.deltas)


async def test_the_version_that_was_asked_for_is_the_one_in_the_address(model: ModelProcess) -> None:
    with ThreadedServer(PROTOCOLS["azure"].server()) as server:
        asked = Asked(
            model,
            ModelRequest(
                "azure/gpt-4o", (UserMessage("hi"),), api_base=server.url, api_version="2031-01-01-preview"
            ),
        )
        assert isinstance(await asked.outcome(), Finished)
        assert server.exchanges[0].request.query["api-version"] == "2031-01-01-preview"


def test_levels_that_the_catalogue_names_are_the_only_ones() -> None:
    entry = {"supports_reasoning": True, "reasoning_effort_levels": ["none", "high"]}

    def mapped(asked: Parameters) -> Mapping[str, Any]:
        return {} if asked.effort is None else {"reasoning_effort": asked.effort}

    some = Model("some", "somebody", entry, mapped)
    assert fit(Parameters(Effort.NONE), some).given.effort is Effort.NONE
    assert fit(Parameters(Effort.LOW), some).given.effort is Effort.HIGH
    none = Model("none", "somebody", {**entry, "reasoning_effort_levels": []}, mapped)
    assert fit(Parameters(Effort.LOW), none) == Fitted(AS_IT_IS, ("effort",))


def test_only_a_claude_that_is_sent_a_budget_gets_room_for_its_thoughts() -> None:
    """Others in between, OpenRouter for one, do that themselves."""

    def mapped(asked: Parameters) -> Mapping[str, Any]:
        return {} if asked.effort is None else {"reasoning_effort": asked.effort}

    between = Model(
        "anthropic/claude", "openrouter", {"max_output_tokens": 7, "supports_reasoning": True}, mapped
    )
    assert fit(Parameters(Effort.LOW), between) == Fitted(Parameters(Effort.LOW))


def test_an_error_of_the_library_is_a_parameter_that_is_not_taken() -> None:
    def mapped(asked: Parameters) -> Mapping[str, Any] | None:
        return None if asked.effort is not None else {"temperature": asked.temperature}

    some = Model("some", "somebody", None, mapped)
    assert fit(Parameters(Effort.LOW, 0.5), some) == Fitted(Parameters(temperature=0.5), ("effort",))
