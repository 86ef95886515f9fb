"""The tools of a request, and where a turn gets them from. Imports nothing that a tool needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import field

from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.cancel import CancelToken
    from core.engine.tool import Tool
    from core.model.provider import ToolSpec


class Toolset(Value):
    """The tools of one request."""

    specs: tuple[ToolSpec, ...] = ()
    tools: Mapping[str, Tool[Any]] = field(default_factory=dict)


class ToolSource(Protocol):
    """Where a turn gets its tools from, anew for each request: servers come and go."""

    async def load(self, token: CancelToken) -> Toolset:
        """The tools there are now. Runs under `token`, bound; bounded in time whatever a server does."""
