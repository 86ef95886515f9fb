"""What the status line says about a session: asked of the session anew each time, never remembered (U4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.events import Status
from core.operations import OperationKind
from tui.keys import key_name
from tui.widgets.status_line import BackOffView, StatusView, TurnState

if TYPE_CHECKING:
    from core.session import Session
    from tui.widgets.status_line import EscAction

_STATE = {Status.IDLE: TurnState.IDLE, Status.RUNNING: TurnState.RUNNING, Status.STOPPING: TurnState.STOPPING}


def status_view(session: Session, esc: EscAction, note: str | None, *, drafting: bool = False) -> StatusView:
    """All of the row. `note` is a word of the moment, before which the standing ones give way.

    `drafting` means that something is written in the composer.
    """
    urgent = (
        f"{key_name('prompt.stop_and_send')} stops and sends"
        if drafting and session.status is Status.RUNNING
        else ""
    )
    standing = [part for part in (urgent, _alive_note(session), _queue_note(session)) if part]
    return StatusView(
        state=_STATE[session.status],
        esc=esc,
        model=_model(session),
        context_used=session.context_used,
        context_window=session.info.context_window,
        started_at=session.started_at,
        note=note or " · ".join(standing) or None,
        mode=session.mode,
        # Where nothing is known there is nothing to say: /sessions tells.
        cost=str(session.record.spending) if session.record.spending.known else "",
        back_off=_back_off(session),
    )


def _model(session: Session) -> str:
    """Which model was chosen; of a route, also which one has answered last."""
    chosen, info = session.choice.model, session.info
    # While a turn runs another one may be asked, and there is no time to look through the history.
    if session.status is not Status.IDLE or info.model != chosen or not info.members:
        return chosen
    answered = session.history[-1].model if session.history else ""
    return f"{chosen} → {answered}" if any(one.model == answered for one in info.members) else chosen


def _back_off(session: Session) -> BackOffView | None:
    back_off = session.back_off
    if back_off is None or session.status is not Status.RUNNING:
        return None
    return BackOffView(back_off.why, back_off.wait.until, key_name("pane.retry_now"))


def _alive_note(session: Session) -> str:
    """How much is running beside the reply, and what refused to end."""
    kinds = [view.kind for view in session.operations()]
    calls, background = kinds.count(OperationKind.CALL), kinds.count(OperationKind.BACKGROUND)
    refused = len(session.survivors)
    parts = (
        "compacting" if OperationKind.COMPACTION in kinds else "",
        f"{refused} refused to end: {key_name('pane.kill')} kills" if refused else "",
        f"{calls} call{'s' * (calls > 1)}" if calls else "",
        f"{background} in background" if background else "",
    )
    return ", ".join(part for part in parts if part)


def _queue_note(session: Session) -> str:
    if not (waiting := len(session.queued)):
        return ""
    return (
        f"{waiting} queued: {key_name('pane.send_queued')} sends"
        if session.queue_paused
        else f"{waiting} queued"
    )
