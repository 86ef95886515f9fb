"""What a line of words for the model is about: the stop of a call, or the denial of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from core.values import dataclass
from tui.output import one_line


@dataclass(frozen=True, slots=True)
class StopWords:
    """Why this call is stopped."""

    call_id: str
    name: str

    @property
    def title(self) -> str:
        return f"Stop {one_line(self.name)} and tell the model: Enter stops it, Esc goes back"


@dataclass(frozen=True, slots=True)
class DenyWords:
    """Why the call of this question may not run."""

    ask_id: str
    tool: str

    @property
    def title(self) -> str:
        return f"Deny {one_line(self.tool)} and tell the model: Enter denies it, Esc goes back"


Purpose: TypeAlias = StopWords | DenyWords

AskWords: TypeAlias = Callable[[Purpose], object]
"""Opens the line and gives it the focus before it returns. A message would come too late: letters that are
typed right behind the key would still be taken for keys."""
