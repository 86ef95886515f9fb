"""Requests to litellm: which provider, dialect and parameters a request gets, and how its answer is read.

Only this module and `litellm_changes` import litellm, and only in the model process.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.base.values import Value
from core.model.server_options import USUAL, Network, Reader
from providers.catalog import describe, entry_for, responses_model
from providers.reading.chat import ChatParser
from providers.reading.responses import ResponsesParser
from providers.worker import dialects, litellm_changes, parameters
from providers.worker.amendments import amended
from providers.worker.capture import capture, capturing_client, current_network
from providers.worker.errors import failures
from providers.worker.exchange import NoNetwork, new_client
from providers.worker.images import fitting
from providers.worker.reasoning import own_reasoning, signer_of
from providers.worker.return_rules import GEMINI, rules_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from core.model.messages import Message
    from core.model.provider import ModelRequest, Parameters
    from providers.keys.finder import Endpoint
    from providers.reading.parser import Parser, Summary
    from providers.worker.capture import Captured
    from providers.worker.return_rules import ReturnRules

_litellm: Any = None
_own_clients: dict[Network, Any] = {}
"""For servers that are reached otherwise than the environment says. Like litellm's, they are kept, with their
connections."""

TAKES_ANY_NAME = frozenset({"azure", "llamafile", "lm_studio"})
"""Providers of OpenAI's protocol whose models have names that the person chose. litellm cannot know from such
a name that a model reasons, and leaves the effort out."""


def load() -> None:
    """Import litellm with our changes: some three seconds, so run it in a thread."""
    global _litellm
    _litellm = litellm_changes.load()
    _litellm.aclient_session = capturing_client()


async def warm_up() -> None:
    """Take a stream that nobody waits for: the first one imports modules for hundreds of milliseconds."""
    answer = await _litellm.acompletion(
        model="openai/warm-up",
        messages=[{"role": "user", "content": "warm-up"}],
        mock_response="warm-up",
        stream=True,
        api_key="none",
    )
    async for _ in answer:
        pass


@lru_cache(maxsize=1)
def _client() -> Any:
    """The HTTP client to hand to litellm."""
    return _handler_of(capturing_client())


def _handler_of(client: httpx.AsyncClient) -> Any:
    """What litellm calls an HTTP client, with `client` in it."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    class Handler(AsyncHTTPHandler):
        def create_client(self, *_: Any, **__: Any) -> httpx.AsyncClient:
            # Another one each time: after a connection that broke litellm makes one, and closes it.
            return capturing_client()

    handler = Handler()
    handler.client = client
    return handler


async def _own_client(network: Network) -> Any:
    """litellm's client with one of ours in it. Raises `ModelError`."""
    if network not in _own_clients:
        try:
            _own_clients[network] = _handler_of(await asyncio.to_thread(new_client, network))
        except NoNetwork as error:
            raise failures.no_network(str(error)) from error
        except (OSError, ValueError) as error:
            raise failures.no_certificates(network.ca_file, str(error)) from error
    return _own_clients[network]


def cost_map() -> Mapping[str, Mapping[str, object]]:
    """litellm's limits, prices and abilities of models, by name."""
    return _litellm.model_cost  # type: ignore[no-any-return]


def providers() -> frozenset[str]:
    """litellm's names of its providers."""
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry
    from litellm.types.utils import LlmProvidersSet

    return frozenset((*LlmProvidersSet, *JSONProviderRegistry.list_providers()))


def provider_and_model(request: ModelRequest) -> tuple[str, str]:
    """litellm's name of the provider, and the model's name to pass to it: a bare name at the user's own
    address belongs to an OpenAI-compatible server. Raises litellm's own error for a name of no provider."""
    model = responses_model(request.model) or request.model
    # The older of litellm's two ways to Ollama knows no roles and no tools.
    provider, slash, name = model.partition("/")
    if slash and provider == "ollama":
        model = f"ollama_chat/{name}"
    try:
        return _litellm.get_llm_provider(model)[1], model
    except _litellm.exceptions.BadRequestError:
        if request.api_base is None:
            raise
        return "openai", f"openai/{model}"


def prepare(
    request: ModelRequest, provider: str, model: str, key: str | None, where: Endpoint
) -> LitellmCall:
    """The call for `request`: choose the dialect and fit the parameters to the model."""
    name = model.removeprefix(f"{provider}/")
    responses = responses_model(request.model) is not None or _wants_responses(
        request, provider, name, where.api_base
    )
    map_parameters = _map_for_responses if responses and _responses_config(provider, name) else _map_for_chat

    def mapped(asked: Parameters) -> Mapping[str, Any] | None:
        try:
            return map_parameters(asked, provider, name)
        except Exception:  # noqa: BLE001 - litellm raises any kind of error here
            return None

    entry = entry_for(model, cost_map())
    fitted = parameters.fit(request.parameters, parameters.Model(name, provider, entry, mapped))
    return LitellmCall(request, provider, model, key, where, responses, fitted)


def _wants_responses(request: ModelRequest, provider: str, name: str, api_base: str | None) -> bool:
    """Whether litellm would choose the Responses API for this model.

    It does for models that have no other API, or that do not reason with tools in the other one. Its bridge
    between the two loses the encrypted reasoning, so such a model is asked through Responses directly.
    """
    effort = parameters.chat_parameters(request.parameters).get("reasoning_effort")
    tools = [{"type": "function", "function": {}}] if request.tools else None
    info, _ = _litellm.main.responses_api_bridge_check(
        name, provider, tools=tools, reasoning_effort=effort, api_base=api_base
    )
    return info.get("mode") == "responses" and _responses_config(provider, name) is not None


def _map_for_chat(asked: Parameters, provider: str, name: str) -> Mapping[str, Any]:
    mapped: Mapping[str, Any] = _litellm.utils.get_optional_params(
        model=name, custom_llm_provider=provider, **_chat_parameters(asked, provider, name)
    )
    return mapped


def _chat_parameters(given: Parameters, provider: str, model: str) -> dict[str, Any]:
    unknown = provider in TAKES_ANY_NAME and entry_for(f"{provider}/{model}", cost_map()) is None
    allowed = {"allowed_openai_params": ["reasoning_effort"]} if unknown and given.effort else {}
    return parameters.chat_parameters(given) | allowed


def _map_for_responses(asked: Parameters, provider: str, name: str) -> Mapping[str, Any]:
    from litellm.responses.utils import ResponsesAPIRequestUtils

    given: Any = parameters.responses_parameters(asked)
    return ResponsesAPIRequestUtils.get_optional_params_responses_api(
        model=name,
        responses_api_provider_config=_responses_config(provider, name),
        response_api_optional_params=given,
    )


def _responses_config(provider: str, name: str) -> Any:
    """litellm's configuration of the Responses API, or None where it uses chat completions instead."""
    from litellm.types.utils import LlmProviders

    try:
        known = LlmProviders(provider)
    except ValueError:
        return None
    return _litellm.utils.ProviderConfigManager.get_provider_responses_api_config(provider=known, model=name)


class LitellmCall(Value):
    """One call of litellm. `responses` chooses the dialect: the Responses API, or chat completions.

    `model` has the provider's prefix. `parameters` are the request's parameters as the model takes them.
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
    def rules(self) -> ReturnRules:
        return rules_for(self.provider, self._name, has_own_address=self.where.api_base is not None)

    @property
    def signer(self) -> str:
        """The name that is kept with the reply's reasoning."""
        model = self._name if self.rules.is_gateway else ""
        return signer_of(self.provider, self.where.api_base, responses=self.responses, model=model)

    @property
    def _messages(self) -> tuple[Message, ...]:
        return fitting(own_reasoning(self.request.messages, self.signer), sees=self._sees)

    @property
    def _sees(self) -> bool:
        told = self.request.server.images
        return (
            describe(self.model, entry_for(self.model, cost_map())).vision is True if told is None else told
        )

    @property
    def _is_gemini(self) -> bool:
        return self.provider in GEMINI and "gemini" in self.model

    async def ask(self) -> Any:
        """The `Captured` request of this call; or litellm's stream or whole answer, where litellm reads it,
        once the headers have come."""
        server = self.request.server
        # The `openai` package, through which Azure's chat is asked, gets its client from `litellm`.
        through_sdk = self.provider == "azure" and not self.responses
        # For the rest of this task: some requests are made when their stream is first read.
        current_network.set(server.network)
        if server.reader is Reader.LITELLM:
            # Also for the package, which uses another: here it is told what of the settings is wrong.
            own = None if server.network == USUAL.network else await _own_client(server.network)
            client = None if through_sdk else own
            added = {"extra_headers": server.headers, "extra_body": server.more_body, "client": client}
            return await self._start({name: value for name, value in added.items() if value})
        return await capture(self._start({} if through_sdk else {"client": _client()}))

    def amended(self, captured: Captured) -> httpx.Request:
        """The captured request with all that goes back to the provider in it."""
        is_unknown = entry_for(self.model, cost_map()) is None
        return amended(captured, self._messages, self.rules, must_stream=self.streaming and is_unknown)

    async def _start(self, more: Mapping[str, Any]) -> Any:
        request = self.request
        if self.responses:
            return await _litellm.aresponses(
                model=self.model,
                input=dialects.responses_input(self._messages, self.rules.call_ids),
                instructions=request.system,
                tools=dialects.responses_tools(request.tools) or None,
                include=["reasoning.encrypted_content"],
                store=False,
                **parameters.responses_parameters(self.parameters.given),
                **self._common(),
                **more,
            )
        counted = self.streaming and request.server.stream_options
        usage = {"stream_options": {"include_usage": True}} if counted else {}
        return await _litellm.acompletion(
            model=self.model,
            messages=dialects.chat_messages(
                self._messages,
                request.system,
                call_ids=self.rules.call_ids,
                for_gemini=self._is_gemini,
                images_in_results=self.rules.images_in_results,
            ),
            # An empty list is an error to OpenAI.
            tools=dialects.chat_tools(request.tools) or None,
            **usage,
            **_chat_parameters(self.parameters.given, self.provider, self._name),
            **self._common(),
            **more,
        )

    def parser(self, summary: Summary) -> Parser:
        """Reads litellm's chunks, or its whole answer, which look like OpenAI's."""
        return (ResponsesParser if self.responses else ChatParser)(summary)

    def check_end(self, answer: Any) -> None:
        """Raise `ModelError` when the stream ended without the provider's own end mark.

        litellm gives every chat stream a finish reason, also one that broke off. Its private fields tell the
        two apart. A broken stream of the Responses API raises by itself.
        """
        marks = ("received_finish_reason", "intermittent_finish_reason")
        if not self.responses and all(getattr(answer, mark, None) is None for mark in marks):
            raise failures.cut_short(self.request.model)

    def _common(self) -> dict[str, Any]:
        where = self.where
        given = {"api_key": self.key, "api_base": where.api_base, "api_version": where.api_version}
        return {
            "stream": self.request.streaming,
            "timeout": max(self.request.server.first_byte_timeout, self.request.server.idle_timeout),
            # R3: a retry inside a library cannot be stopped, counted or shown.
            "max_retries": 0,
            "num_retries": 0,
        } | {name: value for name, value in given.items() if value is not None}


async def close(answer: Any) -> None:
    """Close litellm's stream. Its Responses iterator has no `aclose`, only the HTTP response in it has."""
    owner = answer if hasattr(answer, "aclose") else getattr(answer, "response", None)
    if owner is not None:
        await owner.aclose()
