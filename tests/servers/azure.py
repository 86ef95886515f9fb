"""Azure OpenAI: chat completions under a deployment's path, with `api-version` and an `api-key` header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.servers.base import Form
from tests.servers.frames import Frame, Json, sse
from tests.servers.openai import OpenAIServer, openai_error
from tests.servers.script import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.record import Request
    from tests.servers.script import Refuse, Script

PATH = re.compile(r"/openai/deployments/[^/]+/chat/completions")

ERRORS = {
    Refusal.WRONG_KEY: (
        "401",
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid "
        "key for an active subscription and use a correct regional API endpoint for your resource.",
    ),
    Refusal.UNKNOWN_MODEL: (
        "DeploymentNotFound",
        "The API deployment for this resource does not exist. If you created the deployment within the last "
        "5 minutes, please wait a moment and try again.",
    ),
    Refusal.RATE_LIMITED: (
        "429",
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have "
        "exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 14 seconds.",
    ),
}


class AzureServer(OpenAIServer):
    def form(self, request: Request) -> Form | None:
        is_chat = (
            request.method == "POST" and PATH.fullmatch(request.path) and request.query.get("api-version")
        )
        if not is_chat:
            return None
        return Form.STREAM if request.body.get("stream") else Form.WHOLE

    def stream(self, script: Script, request: Request) -> Iterator[Frame]:
        """The first chunk has no choices: it is the content filter's verdict on the prompt."""
        filtered: Json = {
            "id": "", "object": "", "created": 0, "model": "", "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
        }  # fmt: skip
        yield Frame(sse(filtered))
        yield from super().stream(script, request)

    def refusal(self, refuse: Refuse, status: int, request: Request) -> Json:
        if refuse.refusal not in ERRORS:
            return openai_error(refuse.refusal)
        code, message = ERRORS[refuse.refusal]
        return {"error": {"code": code, "message": message}}
