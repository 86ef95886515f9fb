"""litellm as Caesura needs it: quiet, strict, warm, and asked for one stream at a time.

The only importer of litellm, used by the model process alone. What is changed in litellm is changed here,
each with its reason: as it stands it invents a normal end for streams that broke off, skips what it cannot
read, and blocks the event loop to ask Ollama about a model. `tests/providers` proves the changes with the
versions that pyproject.toml allows.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import types
import uuid
import warnings
from typing import TYPE_CHECKING, Any

from core.values import dataclass
from providers import failures, parameters, protocols, reasoning
from providers.catalog import entry_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.messages import Message
    from core.model import ModelRequest, Parameters
    from providers.keys import Endpoint

_library: Any = None

TAKES_ANY_NAME = frozenset({"azure", "llamafile", "lm_studio"})
"""Providers of OpenAI's protocol whose models have names that the person has given them: what such a model is
says nothing, so that litellm leaves efforts out."""


def load() -> None:
    """Import litellm, some three seconds; in a thread, so that a stop is answered meanwhile."""
    global _library
    # Else it fetches a price list, at every start, before the user has asked for anything.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # Else a hundred equal chunks in a row, such as a rule of dashes, are an error.
    os.environ["REPEATED_STREAMING_CHUNK_LIMIT"] = "1000000000"
    # OpenAI and Azure through litellm's own HTTP client instead of the openai package: a quarter less work
    # for each chunk, and no retries behind our back.
    os.environ["EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER"] = "true"
    # Its own models do not fit its own types; that is nobody's news here.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
    import litellm

    # Tokens are counted by the provider; tokenizers would cost 100 MB.
    litellm.disable_token_counter = True
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).handlers.clear()
    # Else the first request to Azure imports it, on the event loop, for half a second.
    importlib.import_module("openai")
    _be_strict()
    _ask_once()
    _keep_calls_apart()
    _without_gateway()
    _library = litellm


async def warm_up() -> None:
    """Make the first stream, which pays for hundreds of milliseconds of imports, one nobody waits for."""
    answer = await _library.acompletion(
        model="openai/warm-up",
        messages=[{"role": "user", "content": "warm-up"}],
        mock_response="warm-up",
        stream=True,
        api_key="none",
    )
    async for _ in answer:
        pass


def cost_map() -> Mapping[str, Mapping[str, object]]:
    """litellm's list of limits, prices and abilities, by model name."""
    return _library.model_cost  # type: ignore[no-any-return]


def providers() -> frozenset[str]:
    """litellm's names of the providers that it can ask."""
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry
    from litellm.types.utils import LlmProvidersSet

    return frozenset((*LlmProvidersSet, *JSONProviderRegistry.list_providers()))


def provider_and_model(request: ModelRequest) -> tuple[str, str]:
    """litellm's name of the provider, and the model's name to pass to it.

    A bare name at an address of the user's own is an OpenAI-compatible server's. Raises litellm's own error
    for a name that belongs to no provider.
    """
    model = protocols.responses_model(request.model) or request.model
    # The older of litellm's two ways to Ollama knows no roles and no tools.
    provider, slash, name = model.partition("/")
    if slash and provider == "ollama":
        model = f"ollama_chat/{name}"
    try:
        return _library.get_llm_provider(model)[1], model
    except _library.exceptions.BadRequestError:
        if request.api_base is None:
            raise
        return "openai", f"openai/{model}"


def prepare(request: ModelRequest, provider: str, model: str, key: str | None, where: Endpoint) -> Call:
    """The call of litellm for `request`: in which dialect, and with which of its parameters."""
    name = model.removeprefix(f"{provider}/")
    responses = protocols.responses_model(request.model) is not None or _wants_responses(
        request, provider, name, where.api_base
    )
    map_parameters = _map_for_responses if responses and _responses_config(provider, name) else _map_for_chat

    def mapped(asked: Parameters) -> Mapping[str, Any] | None:
        try:
            return map_parameters(asked, provider, name)
        except Exception:  # noqa: BLE001 - it raises what it likes, here as well as for the request
            return None

    entry = entry_for(model, cost_map())
    fitted = parameters.fit(request.parameters, parameters.Model(name, provider, entry, mapped))
    return Call(request, provider, model, key, where, responses, fitted)


def _wants_responses(request: ModelRequest, provider: str, name: str, api_base: str | None) -> bool:
    """Whether litellm would ask the Responses API by itself, as it does for models that have nothing else or
    that do not reason with tools elsewhere: its bridge loses the encrypted reasoning."""
    effort = parameters.chat_parameters(request.parameters).get("reasoning_effort")
    tools = [{"type": "function", "function": {}}] if request.tools else None
    info, _ = _library.main.responses_api_bridge_check(
        name, provider, tools=tools, reasoning_effort=effort, api_base=api_base
    )
    return info.get("mode") == "responses" and _responses_config(provider, name) is not None


def _map_for_chat(asked: Parameters, provider: str, name: str) -> Mapping[str, Any]:
    mapped: Mapping[str, Any] = _library.utils.get_optional_params(
        model=name, custom_llm_provider=provider, **_chat_parameters(asked, provider, name)
    )
    return mapped


def _chat_parameters(given: Parameters, provider: str, model: str) -> dict[str, Any]:
    said = parameters.chat_parameters(given)
    nameless = provider in TAKES_ANY_NAME and entry_for(f"{provider}/{model}", cost_map()) is None
    return said | ({"allowed_openai_params": ["reasoning_effort"]} if nameless and given.effort else {})


def _map_for_responses(asked: Parameters, provider: str, name: str) -> Mapping[str, Any]:
    from litellm.responses.utils import ResponsesAPIRequestUtils

    given: Any = parameters.responses_parameters(asked)
    return ResponsesAPIRequestUtils.get_optional_params_responses_api(
        model=name,
        responses_api_provider_config=_responses_config(provider, name),
        response_api_optional_params=given,
    )


def _responses_config(provider: str, name: str) -> Any:
    """None where litellm makes chat completions of it."""
    from litellm.types.utils import LlmProviders

    try:
        known = LlmProviders(provider)
    except ValueError:
        return None
    return _library.utils.ProviderConfigManager.get_provider_responses_api_config(provider=known, model=name)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of litellm, in the dialect that the model is asked in: Responses, or chat completions.

    `model` has the provider's prefix. `parameters` are those of the request, as the model takes them.
    """

    request: ModelRequest
    provider: str
    model: str
    key: str | None
    where: Endpoint
    responses: bool
    parameters: parameters.Fitted

    @property
    def streaming(self) -> bool:
        return self.request.streaming

    @property
    def _name(self) -> str:
        return self.model.removeprefix(f"{self.provider}/")

    @property
    def _maker(self) -> str:
        return reasoning.maker(self.provider, self.where.api_base, responses=self.responses)

    @property
    def _messages(self) -> tuple[Message, ...]:
        return reasoning.own(self.request.messages, self._maker)

    @property
    def _is_gemini(self) -> bool:
        return self.provider in ("gemini", "vertex_ai", "vertex_ai_beta") and "gemini" in self.model

    async def start(self) -> Any:
        """litellm's stream, or its whole answer; after the headers have come."""
        request = self.request
        if self.responses:
            return await _library.aresponses(
                model=self.model,
                input=protocols.responses_input(self._messages),
                instructions=request.system,
                tools=protocols.responses_tools(request.tools) or None,
                include=["reasoning.encrypted_content"],
                store=False,
                **parameters.responses_parameters(self.parameters.given),
                **self._common(),
            )
        usage = {"stream_options": {"include_usage": True}} if self.streaming else {}
        return await _library.acompletion(
            model=self.model,
            messages=protocols.chat_messages(self._messages, request.system, for_gemini=self._is_gemini),
            # An empty list is an error to OpenAI.
            tools=protocols.chat_tools(request.tools) or None,
            **usage,
            **_chat_parameters(self.parameters.given, self.provider, self._name),
            **self._common(),
        )

    def read(self, chunk: Any, tally: protocols.Tally) -> Iterable[protocols.ContentDelta]:
        """The deltas of a chunk, or of the whole answer."""
        match self.responses, self.streaming:
            case False, _:
                deltas = protocols.chat_deltas(chunk, tally)
            case _, True:
                deltas = protocols.response_deltas(chunk, tally)
            case _:
                deltas = protocols.whole_response(chunk, tally)
        return reasoning.sealed(deltas, self._maker)

    def check_end(self, answer: Any) -> None:
        """Raise `ModelError` when the stream ended without the provider's own end mark.

        litellm gives every chat stream a finish reason, also one that broke off; what it keeps for itself
        tells the two apart. A broken stream of the Responses API raises by itself.
        """
        marks = ("received_finish_reason", "intermittent_finish_reason")
        if not self.responses and all(getattr(answer, mark, None) is None for mark in marks):
            raise failures.cut_short(self.request.model)

    def _common(self) -> dict[str, Any]:
        given = {
            "api_key": self.key,
            "api_base": self.where.api_base,
            "api_version": self.where.api_version,
        }
        return {
            "stream": self.request.streaming,
            "timeout": self.request.timeout_s,
            # R3: what retries inside a library cannot be stopped, counted or shown.
            "max_retries": 0,
            "num_retries": 0,
        } | {name: value for name, value in given.items() if value is not None}


async def close(answer: Any) -> None:
    """Close litellm's stream. Its Responses iterator has no close of its own, only the HTTP response's."""
    owner = answer if hasattr(answer, "aclose") else getattr(answer, "response", None)
    if owner is not None:
        await owner.aclose()


def _be_strict() -> None:
    from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicIterator
    from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
    from litellm.llms.ollama.common_utils import OllamaModelInfo
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator
    from litellm.responses.streaming_iterator import BaseResponsesAPIStreamingIterator

    parse_gemini = ModelResponseIterator.chunk_parser
    process_event = BaseResponsesAPIStreamingIterator._process_chunk

    def parsed_gemini(self: Any, chunk: dict[str, Any]) -> Any:
        """Gemini's own finish reason: litellm says "stop" in every chunk, and forgets the real one."""
        parsed: Any = parse_gemini(self, chunk)
        candidates = chunk.get("candidates") or ()
        if parsed is not None and candidates:
            if any(candidate.get("finishReason") for candidate in candidates):
                parsed.hidden_params["is_finished"] = True
            else:
                for choice in parsed.choices:
                    choice.finish_reason = None
        return parsed

    def no_fragment(self: Any, chunk: str, is_final: bool = False) -> None:
        """What is no JSON raises: litellm takes it for a fragment, and swallows all that follows in the hope
        of its other half. Its lines are complete ones."""
        if not is_final:
            json.loads(_payload(chunk) or "null")

    def parsed_line(str_line: str) -> Any:
        """A line of Ollama's; one that is no JSON raises instead of being skipped."""
        payload = _payload(str_line)
        return None if payload is None else json.loads(payload)

    def processed_event(self: Any, chunk: Any, *args: Any, **kwargs: Any) -> Any:
        """An event of the Responses API; one that is no JSON raises instead of being skipped."""
        event = process_event(self, chunk, *args, **kwargs)
        if event is None and (payload := _payload(chunk)) is not None:
            json.loads(payload)
        return event

    def no_model_info(self: Any, model: str, **_: Any) -> None:
        """Else three requests a reply: one synchronous on the loop, two to localhost wherever Ollama is."""

    changes: tuple[tuple[Any, str, Any], ...] = (
        (ModelResponseIterator, "chunk_parser", parsed_gemini),
        (ModelResponseIterator, "handle_accumulated_json_chunk", no_fragment),
        (AnthropicIterator, "_handle_accumulated_json_chunk", no_fragment),
        (BaseModelResponseIterator, "_string_to_dict_parser", staticmethod(parsed_line)),
        (BaseResponsesAPIStreamingIterator, "_process_chunk", processed_event),
        (OllamaModelInfo, "get_model_info", no_model_info),
    )
    for owner, name, changed in changes:
        setattr(owner, name, changed)


def _ask_once() -> None:
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    async def not_again(*_: Any, **__: Any) -> None:
        """R3: litellm sends a request again, on a new connection, when the first one was refused or reset."""
        refused = sys.exception()
        raise refused if refused is not None else RuntimeError("litellm wanted to send a request again")

    setattr(AsyncHTTPHandler, "single_connection_post_request", not_again)  # noqa: B010 - litellm is typed


def _keep_calls_apart() -> None:
    from litellm.llms.ollama.chat.transformation import (
        OllamaChatCompletionResponseIterator,
        OllamaChatConfig,
    )
    from litellm.llms.vertex_ai.gemini import transformation as gemini

    parse_ollama = OllamaChatCompletionResponseIterator.chunk_parser
    ask_ollama = OllamaChatConfig.transform_request

    def identified(self: Any, chunk: dict[str, Any]) -> Any:
        """Each call of Ollama's with an id: litellm gives none to those without arguments, and they merge."""
        for call in (chunk.get("message") or {}).get("tool_calls") or ():
            call["id"] = f"call_{uuid.uuid4().hex[:24]}"
        return parse_ollama(self, chunk)

    def named(self: Any, model: str, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """Each result with its tool's name, by which Ollama tells results apart: it knows no ids of calls."""
        asked = ask_ollama(self, model, messages, *args, **kwargs)
        names = {
            call["id"]: call["function"]["name"]
            for message in messages
            for call in message.get("tool_calls") or ()
        }
        for sent in asked["messages"]:
            if (call_id := sent.pop("tool_call_id", None)) is not None:
                sent["tool_name"] = names.get(call_id, "")
        return asked

    def never_there(*_: Any, **__: Any) -> bool:
        """Two equal calls of one reply are two: litellm sends Gemini the first alone, with two results."""
        return False

    changes: tuple[tuple[Any, str, Any], ...] = (
        (OllamaChatCompletionResponseIterator, "chunk_parser", identified),
        (OllamaChatConfig, "transform_request", named),
        (gemini, "check_if_part_exists_in_parts", never_there),
    )
    for owner, name, changed in changes:
        setattr(owner, name, changed)


def _without_gateway() -> None:
    """Spare every request with tools, and the Responses API, litellm's MCP gateway, which is never used here.

    Its import takes half a second on the event loop, and 270 modules with the package `mcp` among them.
    """
    gateway = types.ModuleType("litellm.responses.mcp.litellm_proxy_mcp_handler")
    never = staticmethod(lambda tools=None: False)
    vars(gateway)["LiteLLM_Proxy_MCP_Handler"] = type(
        "NoGateway", (), {"should_use_litellm_mcp_gateway": never}
    )
    sys.modules[gateway.__name__] = gateway


def _payload(line: Any) -> str | None:
    """The JSON text of a line of a stream; None for comments, event names and end marks."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line or "")
    if text.startswith((":", "event:", "id:", "retry:")):
        return None
    text = text.removeprefix("data:").strip()
    return None if not text or text == "[DONE]" else text
