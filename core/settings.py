"""The settings of all sessions: read once, by whoever needs them first, in a thread.

The first frame does not need them, and what they are read with would hold it up.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from core.config import Config, ContainmentChoice, Loaded
    from core.containment import Containment
    from core.permissions import Rule


class Settings:
    """`secrets` names the variables of the environment that no child of ours gets."""

    def __init__(self, workspace: Path, secrets: Callable[[], Collection[str]]) -> None:
        self.workspace = workspace
        self._secrets = secrets
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    def load(self) -> Loaded:
        """Blocking; never raises. The same answer each time."""
        from core.config import config_folder, load_config

        with self._lock:
            if self._loaded is None:
                self._loaded = load_config(config_folder() / "config.toml", self.workspace)
            return self._loaded

    @property
    def config(self) -> Config:
        return self.load().config

    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets())

    def containment_of(self, line: str) -> Containment | None:
        """How the processes of this command line are held together; None for the best there is."""
        from core.tools.shell_syntax import commands

        return _containment(self.config.tools.containment_of(line, commands(line)))

    @property
    def containment(self) -> Containment | None:
        """The same for the processes of Caesura's own tools, which no rule names."""
        return _containment(self.config.tools.containment)

    @property
    def keep_rule(self) -> Callable[[Rule], object]:
        """What stores the answer "always"."""
        from core.config import add_allow_rule, config_folder

        return partial(add_allow_rule, config_folder() / "config.toml", self.workspace)


def _containment(choice: ContainmentChoice) -> Containment | None:
    from core.config import ContainmentChoice
    from core.containment import Containment

    match choice:
        case ContainmentChoice.AUTO:
            return None
        case ContainmentChoice.NAMESPACE:
            return Containment.NAMESPACE
        case ContainmentChoice.GROUP:
            return Containment.GROUP
        case _:
            assert_never(choice)
