"""What the settings and the person have chosen for a session: mode, limits, and what the model is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.base.values import or_else
from core.operations.events import ModeChanged

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.engine.questions import Questions
    from core.engine.turn import Limits
    from core.operations.events import Event
    from core.permissions.policy import Mode, Permissions
    from core.session.model_switch import ModelSelection


class SessionSettings:
    """The settings of one session, in its event loop. `emit` publishes events."""

    def __init__(
        self,
        limits: Limits,
        permissions: Permissions,
        questions: Questions,
        model: ModelSelection,
        emit: Callable[[Event], None],
        *,
        mode_chosen: bool,
    ) -> None:
        self._permissions = permissions
        self._mode_chosen = mode_chosen
        self._questions = questions
        self._model = model
        self._emit = emit
        self.limits = limits
        self.notes_files: tuple[str, ...] = ()
        """The files of the project that the model is told of: `AGENTS.md` and the like."""

    def set_mode(self, mode: Mode) -> None:
        """Change what is done without a question. Open questions are decided again."""
        self._mode_chosen = True
        if mode is self._permissions.mode:
            return
        self._permissions.mode = mode
        self._emit(ModeChanged(mode))
        self._questions.reconsider_soon()

    def configure(self, mode: Mode, limits: Limits) -> None:
        """Apply the files of settings, except where the person has chosen already."""
        if not self._mode_chosen:
            self.set_mode(mode)
        self.limits = or_else(self.limits, limits)

    def use_notes(self, system: str, files: tuple[str, ...]) -> None:
        """Tell the model `system`, the system prompt with the notes of these files."""
        self.notes_files = files
        self._model.use_system(system)
