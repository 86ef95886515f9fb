"""The six protocols and the proxy as data: server, litellm's name of a model, the environment it needs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.model.server_options import Reader
from tests.servers.anthropic import AnthropicServer
from tests.servers.azure import AzureServer
from tests.servers.gemini import GeminiServer
from tests.servers.ollama import OllamaServer
from tests.servers.openai import OpenAIServer
from tests.servers.responses import ResponsesServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.base import Server


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """One provider's protocol.

    `model` goes to `litellm.acompletion`, or to `litellm.aresponses` when `uses_responses`, with
    `api_base=server.url`. `environment` holds keys that are none.
    """

    name: str
    server: type[Server]
    model: str
    environment: Mapping[str, str] = field(default_factory=dict)
    uses_responses: bool = False
    splits_calls: bool = True
    """Whether a call's arguments arrive in pieces."""
    reader: Reader = Reader.OWN


PROTOCOLS: Mapping[str, WireProtocol] = {
    protocol.name: protocol
    for protocol in (
        WireProtocol("openai", OpenAIServer, "openai/gpt-4o", {"OPENAI_API_KEY": "sk-test"}),
        WireProtocol(
            "azure",
            AzureServer,
            "azure/gpt-4o",
            {"AZURE_API_KEY": "azure-test", "AZURE_API_VERSION": "2024-10-21"},
        ),
        WireProtocol(
            "anthropic", AnthropicServer, "anthropic/claude-sonnet-4-5", {"ANTHROPIC_API_KEY": "sk-ant-test"}
        ),
        WireProtocol(
            "gemini",
            GeminiServer,
            "gemini/gemini-2.5-flash",
            {"GEMINI_API_KEY": "gem-test"},
            splits_calls=False,
        ),
        WireProtocol("ollama", OllamaServer, "ollama_chat/llama3.1", splits_calls=False),
        WireProtocol(
            "responses", ResponsesServer, "openai/gpt-5", {"OPENAI_API_KEY": "sk-test"}, uses_responses=True
        ),
    )
}

READ_BY_LITELLM = tuple(replace(protocol, reader=Reader.LITELLM) for protocol in PROTOCOLS.values())
"""The same, with litellm reading the replies."""

PROXY = WireProtocol(
    "litellm_proxy", OpenAIServer, "litellm_proxy/gpt-4o", {"LITELLM_PROXY_API_KEY": "sk-proxy-test"}
)
"""A team's LiteLLM proxy: OpenAI's protocol, which litellm asks in another way than OpenAI itself."""
