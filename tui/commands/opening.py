"""The initial contents of a pane."""

from __future__ import annotations

from core.base.values import Value


class Opening(Value):
    """The initial contents of a pane: `notes` are shown in it, `draft` goes into its composer."""

    notes: tuple[str, ...] = ()
    draft: str = ""


NO_OPENING = Opening()
