"""What a reason for the model is about: the stop of a call, or its denial."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from core.base.values import Value
from tui.base.printable import one_line


class StopReason(Value):
    """The reason why this call is stopped."""

    call_id: str
    name: str

    @property
    def title(self) -> str:
        return f"Stop {one_line(self.name)} and tell the model: Enter stops it, Esc goes back"


class DenyReason(Value):
    """The reason why the call of this question is denied."""

    ask_id: str
    tool: str

    @property
    def title(self) -> str:
        return f"Deny {one_line(self.tool)} and tell the model: Enter denies it, Esc goes back"


ReasonFor: TypeAlias = StopReason | DenyReason

AskReason: TypeAlias = Callable[[ReasonFor], object]
"""Opens the line and focuses it before it returns. A message would come too late: letters typed right after
the key would still be taken for keys."""
