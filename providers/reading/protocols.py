"""The protocols that are read here, and how a request shows which of them it speaks."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from providers.reading.anthropic import AnthropicParser
from providers.reading.chat import ChatParser
from providers.reading.gemini import GeminiParser
from providers.reading.ollama import OllamaParser
from providers.reading.responses import ResponsesParser

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from providers.reading.parser import Parser, Summary


class Protocol(StrEnum):
    """A protocol that is read here. Azure speaks OpenAI's two."""

    CHAT = "chat"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"
    OLLAMA = "ollama"
    RESPONSES = "responses"

    def parser(self, summary: Summary) -> Parser:
        """A parser for one reply."""
        return _PARSERS[self](summary)


_PARSERS: Mapping[Protocol, type[Parser]] = {
    Protocol.CHAT: ChatParser,
    Protocol.ANTHROPIC: AnthropicParser,
    Protocol.GEMINI: GeminiParser,
    Protocol.OLLAMA: OllamaParser,
    Protocol.RESPONSES: ResponsesParser,
}


def protocol_of(path: str, fields: Container[str]) -> Protocol | None:
    """The protocol of a request to `path` whose body has these `fields`; None for any other."""
    path = path.rstrip("/")
    if path.endswith((":streamGenerateContent", ":generateContent")):
        return Protocol.GEMINI
    if path.endswith("/chat/completions") and "messages" in fields:
        return Protocol.CHAT
    if path.endswith("/messages") and "max_tokens" in fields:
        return Protocol.ANTHROPIC
    if path.endswith("/api/chat") and "messages" in fields:
        return Protocol.OLLAMA
    if path.endswith("/responses") and "input" in fields:
        return Protocol.RESPONSES
    return None
