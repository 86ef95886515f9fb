"""Requests to one server as altered settings would have them, and what the reply to a small one tells."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from core.base.values import Value
from core.model.messages import UserMessage
from core.model.provider import (
    AttemptStarted,
    ModelChoice,
    ModelError,
    ModelProvider,
    ModelRequest,
    Parameters,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)
from core.model.settings import ModelSettings, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.cancel import CancelToken
    from core.model.directory import ServerModels
    from core.model.provider import Delta
    from core.model.settings import ServerAddress

MOST_TOKENS = 16
"""How long a reply may be: the minimum that every provider accepts."""
PATIENCE_S = 300.0
"""How long the first word is waited for at least, in seconds: a server may have to load its model."""

ANY_MODEL = "any"
"""Asked for where no name is known: servers that run one model take any."""

_TOOL = ToolSpec(
    "note_word",
    "Note a word.",
    '{"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}',
)


class ServerAsker(ModelProvider, Protocol):
    """What asks a server: `providers.routing.router.Router` with the settings of one server."""

    async def server_models(self, now: ModelChoice) -> ServerModels:
        """As `core.model.directory.ModelDirectory` has it."""

    async def served_window(self, now: ModelChoice) -> int | None:
        """How much the model of `now` reads, in tokens, as its server tells it; None if it does not."""


class Answer(Value):
    """What came of a request. `failure` is None for a reply; the rest is of a reply alone.

    `first_s` is the time until its first word in seconds, `is_whole` as in `Finished`.
    """

    failure: ModelError | None
    text: str = ""
    first_s: float = 0.0
    is_whole: bool = False


class Questions:
    """Asks the server `name` for `model`, which is empty as long as none is known. `sent` counts the requests
    for a reply."""

    def __init__(
        self, name: str, model: str, make_asker: Callable[[ModelSettings], ServerAsker], token: CancelToken
    ) -> None:
        self.sent = 0
        self.model = model
        self._name = name
        self._make_asker = make_asker
        self._token = token

    @property
    def _choice(self) -> ModelChoice:
        return ModelChoice(f"{self._name}/{self.model or ANY_MODEL}")

    async def ask(self, server: ServerAddress) -> Answer:
        """One small request, which is not repeated. Tags of reasoning stay in the text."""
        limit = max(server.first_byte_timeout, PATIENCE_S)
        asker = self._asker(replace(server, fold_thinking=False, first_byte_timeout=limit))
        request = ModelRequest(
            self._choice.model,
            (UserMessage("Say ok."),),
            tools=(_TOOL,),
            parameters=Parameters(max_output=MOST_TOKENS),
        )
        reply = _Reply()
        try:
            finished = await asker.stream(request, self._token, reply.take)
        except ModelError as error:
            return Answer(error)
        finally:
            self.sent += reply.attempts
        return Answer(None, reply.text, reply.first_s(), finished.is_whole)

    async def models(self, server: ServerAddress) -> ServerModels:
        """The list of its models, which may be asked for under several addresses."""
        with self._token.bind():
            return await self._asker(server).server_models(self._choice)

    async def window(self, server: ServerAddress) -> int | None:
        """How much the model reads, in tokens, as the server tells it."""
        with self._token.bind():
            return await self._asker(server).served_window(self._choice)

    async def known_window(self, server: ServerAddress) -> int | None:
        """The same as the settings have it, or the catalogue."""
        with self._token.bind():
            return (await self._asker(server).describe(self._choice.model)).context_window

    def _asker(self, server: ServerAddress) -> ServerAsker:
        return self._make_asker(ModelSettings({self._name: server}, retry=RetryPolicy(0)))


class _Reply:
    """The deltas of one request, which may take several attempts, as far as they matter here."""

    def __init__(self) -> None:
        self.attempts = 0
        self.text = ""
        self._started = time.monotonic()
        self._first: float | None = None

    def take(self, delta: Delta) -> None:
        match delta:
            case AttemptStarted():
                self.attempts += 1
                self._started = time.monotonic()
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                self._first = self._first or time.monotonic()
                self.text += delta.text if isinstance(delta, TextDelta) else ""
            case _:
                pass

    def first_s(self) -> float:
        """The time until the first word; of a reply without any, until now."""
        return (self._first or time.monotonic()) - self._started
