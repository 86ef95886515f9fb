"""The text of `/status`: model, permissions, session, project notes and settings.

It only formats known facts: no requests, no disk access.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.process.containment import Containment
from tui.base.format import format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.engine.turn import Limits
    from core.model.provider import ModelInfo
    from core.session.session import Session


_CONTAINED = {
    Containment.NAMESPACE: "commands run in a PID namespace, which nothing can leave",
    Containment.GROUP: "commands run under a keeper; no PID namespace can be made here",
}


def status_report(session: Session, config: str, containment: Containment, addresses: Sequence[str]) -> str:
    """The facts of the session now, as labeled lines. `config` has one file of settings per line;
    `containment` is the best of this machine, and requests go to the `addresses`."""
    choice, info, steps = session.model.choice, session.record.info, session.record.steps
    answered = steps[-1].step.model if steps else ""
    title = session.after_turn.title
    facts = (
        ("Version", _version()),
        ("Model", choice.model),
        ("Behind it", ", ".join(member.model for member in info.members)),
        ("Answered last", answered if answered != choice.model else ""),
        ("Effort", choice.parameters.effort or "left to the provider"),
        ("Address", "\n".join(addresses)),
        ("Folder", str(session.workspace.root)),
        ("Mode", session.permissions.mode),
        ("Containment", _CONTAINED[containment]),
        ("Limits", _limits(session.settings.limits)),
        ("Session", f"{session.session_id}{f' ‘{title}’' if title else ''}"),
        ("Context", _context(session.record.context_used, info)),
        (
            "Notes read",
            "\n".join(session.settings.notes_files) or "none: /init has the model write AGENTS.md",
        ),
        ("Settings", config),
        ("MCP", session.tools.describe_servers()),
    )
    known = [(name, text) for name, text in facts if text]
    width = max(len(name) for name, _ in known)
    return "\n".join(_entry(name, text, width) for name, text in known)


def _entry(name: str, text: str, width: int) -> str:
    first, *rest = text.splitlines()
    return "\n".join((f"{name.ljust(width)}  {first}", *(f"{' ' * width}  {line}" for line in rest)))


def _limits(limits: Limits) -> str:
    parts = (
        None if limits.steps is None else f"{limits.steps} replies a turn",
        None if limits.seconds is None else f"{limits.seconds:g} s a turn",
        None if limits.dollars is None else f"${limits.dollars:,.2f} a session",
    )
    return ", ".join(filter(None, parts)) or "none"


def _context(used: int | None, info: ModelInfo) -> str:
    window = info.context_window
    if used is None:
        return f"of {format_tokens(window)} tokens, nothing counted yet" if window else "not counted yet"
    if not window:
        return f"{format_tokens(used)} tokens; how many the model takes is not known"
    return f"{format_tokens(used)} of {format_tokens(window)} tokens ({used / window:.0%})"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"Caesura {version('caesura')}"
    except PackageNotFoundError:
        return "Caesura from its source, not installed"
