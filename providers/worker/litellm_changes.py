"""What is changed in litellm, each with its reason. Every new release has to prove again that it holds.

As it stands, litellm invents a normal end for streams that broke off, skips what it cannot read, sends a
refused request again, and blocks the event loop to ask Ollama about a model. `tests/providers` proves the
changes with the versions that pyproject.toml allows.
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
from typing import Any

from providers.worker.sockets import current_trace


def load() -> Any:
    """Import litellm, change it and return the module. Takes some three seconds."""
    # Otherwise it reads `.env`. `providers.sealing` has what else it must not find.
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # Without this it fetches a price list at every start.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    # By default a hundred equal chunks in a row, such as a line of dashes, are an error.
    os.environ["REPEATED_STREAMING_CHUNK_LIMIT"] = "1000000000"
    # litellm's own HTTP client for OpenAI and Azure instead of the openai package: a quarter less work for
    # each chunk, and no hidden retries.
    os.environ["EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER"] = "true"
    # litellm's values do not match its own types. The warning about that is of no use here.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
    import litellm

    # The provider counts tokens. Tokenizers would take 100 MB.
    litellm.disable_token_counter = True
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).handlers.clear()
    # Otherwise the first request to Azure imports it, on the event loop, for half a second.
    importlib.import_module("openai")
    _follow_no_redirects()
    _be_strict()
    _ask_once()
    _keep_calls_apart()
    _without_gateway()
    _close_responses()
    return litellm


def _follow_no_redirects() -> None:
    """A redirect would take the key and the conversation to an address that nobody chose (P9).

    httpx takes only the `authorization` header out of what it sends to another host, and no other key. Some
    providers are asked with its synchronous client in a thread, and a few with aiohttp.
    """
    import aiohttp
    import httpx

    def send_once(send: Any) -> Any:
        def sent(client: Any, request: Any, follow_redirects: bool, history: Any) -> Any:
            return send(client, request, follow_redirects=False, history=history)

        return sent

    ask = aiohttp.ClientSession._request

    def ask_once(session: Any, *args: Any, **options: Any) -> Any:
        return ask(session, *args, **{**options, "allow_redirects": False})

    name = "_send_handling_redirects"
    _replace(
        (httpx.AsyncClient, name, send_once(httpx.AsyncClient._send_handling_redirects)),
        (httpx.Client, name, send_once(httpx.Client._send_handling_redirects)),
        (aiohttp.ClientSession, "_request", ask_once),
    )


def _be_strict() -> None:
    """Make readers of streams raise for what they cannot read, and keep the finish reason they were sent."""
    from litellm.llms.anthropic.chat.handler import ModelResponseIterator as AnthropicIterator
    from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
    from litellm.llms.ollama.common_utils import OllamaModelInfo
    from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator
    from litellm.responses.streaming_iterator import BaseResponsesAPIStreamingIterator

    parse_gemini = ModelResponseIterator.chunk_parser
    process_event = BaseResponsesAPIStreamingIterator._process_chunk

    def parsed_gemini(self: Any, chunk: dict[str, Any]) -> Any:
        """Keep Gemini's finish reason: litellm says "stop" in every chunk and drops the real one."""
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
        """Raise for a line that is not JSON. litellm takes it for a fragment and swallows all that follows,
        waiting for the rest; its lines are always complete."""
        if not is_final:
            json.loads(_payload(chunk) or "null")

    def parsed_line(str_line: str) -> Any:
        """A line of Ollama's stream. One that is not JSON raises instead of being skipped."""
        payload = _payload(str_line)
        return None if payload is None else json.loads(payload)

    def processed_event(self: Any, chunk: Any, *args: Any, **kwargs: Any) -> Any:
        """An event of the Responses API. One that is not JSON raises instead of being skipped."""
        event = process_event(self, chunk, *args, **kwargs)
        if event is None and (payload := _payload(chunk)) is not None:
            json.loads(payload)
        return event

    def no_model_info(self: Any, model: str, **_: Any) -> None:
        """Know nothing of the model. litellm would send three requests for each reply: one that blocks the
        event loop, and two to localhost wherever Ollama is."""

    _replace(
        (ModelResponseIterator, "chunk_parser", parsed_gemini),
        (ModelResponseIterator, "handle_accumulated_json_chunk", no_fragment),
        (AnthropicIterator, "_handle_accumulated_json_chunk", no_fragment),
        (BaseModelResponseIterator, "_string_to_dict_parser", staticmethod(parsed_line)),
        (BaseResponsesAPIStreamingIterator, "_process_chunk", processed_event),
        (OllamaModelInfo, "get_model_info", no_model_info),
    )


def _ask_once() -> None:
    """Send each request once (R3)."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    async def not_again(*_: Any, **__: Any) -> None:
        """Raise instead of sending a request again on a new connection after a refusal or a reset."""
        refused = sys.exception()
        raise refused if refused is not None else RuntimeError("litellm wanted to send a request again")

    _replace((AsyncHTTPHandler, "single_connection_post_request", not_again))


def _keep_calls_apart() -> None:
    """Keep the calls of one reply, and their results, from being merged."""
    from litellm.llms.ollama.chat.transformation import (
        OllamaChatCompletionResponseIterator,
        OllamaChatConfig,
    )
    from litellm.llms.vertex_ai.gemini import transformation as gemini

    parse_ollama = OllamaChatCompletionResponseIterator.chunk_parser
    ask_ollama = OllamaChatConfig.transform_request

    def identified(self: Any, chunk: dict[str, Any]) -> Any:
        """Give each of Ollama's calls an id. litellm gives none to calls without arguments, which merge."""
        for call in (chunk.get("message") or {}).get("tool_calls") or ():
            call["id"] = f"call_{uuid.uuid4().hex[:24]}"
        return parse_ollama(self, chunk)

    def named(self: Any, model: str, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """Send each result with its tool's name. Ollama tells results apart by it and knows no call ids."""
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
        """Send Gemini both of two equal calls in a reply. litellm sends one call with two results."""
        return False

    _replace(
        (OllamaChatCompletionResponseIterator, "chunk_parser", identified),
        (OllamaChatConfig, "transform_request", named),
        (gemini, "check_if_part_exists_in_parts", never_there),
    )


def _without_gateway() -> None:
    """Replace litellm's MCP gateway, which is never used here, by one that does nothing.

    Each request with tools, and each to the Responses API, would import it: half a second on the event loop
    and 270 modules, the package `mcp` among them.
    """
    gateway = types.ModuleType("litellm.responses.mcp.litellm_proxy_mcp_handler")
    never = staticmethod(lambda tools=None: False)
    vars(gateway)["LiteLLM_Proxy_MCP_Handler"] = type(
        "NoGateway", (), {"should_use_litellm_mcp_gateway": never}
    )
    sys.modules[gateway.__name__] = gateway


def _close_responses() -> None:
    """Close the response of a stream that is stopped between its headers and the first read.

    Nobody reads it then, so nobody closes it: aiohttp would complain when it is collected (P5).
    """
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    request = LiteLLMAiohttpTransport._make_aiohttp_request

    async def noted(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = await request(self, *args, **kwargs)
        if (trace := current_trace.get()) is not None:
            trace.close_when_stopped(response.close)
        return response

    _replace((LiteLLMAiohttpTransport, "_make_aiohttp_request", noted))


def _replace(*changes: tuple[Any, str, Any]) -> None:
    for owner, name, changed in changes:
        setattr(owner, name, changed)


def _payload(line: Any) -> str | None:
    """The JSON text of a line of a stream, or None for comments, event names and end marks."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line or "")
    if text.startswith((":", "event:", "id:", "retry:")):
        return None
    text = text.removeprefix("data:").strip()
    return None if not text or text == "[DONE]" else text
