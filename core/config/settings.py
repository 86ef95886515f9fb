"""The settings of all sessions: read once, by whoever needs them first, in a thread.

The first frame does not need them, and what they are read with would hold it up. What the person changes
through the screen goes to the same file, and is read again.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, assert_never

from core.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from core.config import Config, ContainmentChoice, Loaded
    from core.containment import Containment
    from core.model_settings import ModelSettings
    from core.permissions import Rule
    from core.setup import ModelChosen


LISTED = 8
"""Settings that a sentence names; a hostile file may have thousands."""


class Settings:
    """`secrets` names the variables of the environment that no child of ours gets, with those that the
    settings name as keys. `options` are what the command line sets, by dotted keys."""

    def __init__(
        self,
        workspace: Path,
        secrets: Callable[[Iterable[str]], Collection[str]],
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.workspace = workspace
        self._secrets = secrets
        self._options = options or {}
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None
        self._told: set[str] = set()

    # All of it but `models` blocks, and is for a thread.

    def load(self) -> Loaded:
        """Never raises. The same answer each time, until something was changed through this."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    @property
    def config(self) -> Config:
        return self.load().config

    async def models(self) -> ModelSettings:
        """What the settings say of models and routes; read in a thread if nobody has yet."""
        from core.threads import run_in_thread

        loaded = self._loaded
        if loaded is None:
            loaded = await run_in_thread(self.load, name="settings")
        return loaded.config.model_settings

    def news(self, sentences: Iterable[str]) -> tuple[str, ...]:
        """Those that this was not asked about before: nobody need be told twice, in each session again."""
        with self._lock:
            new = tuple(sentence for sentence in dict.fromkeys(sentences) if sentence not in self._told)
            self._told.update(new)
            return new

    def save(self, key: tuple[str, ...], value: object) -> None:
        """Give a setting a value in the person's file. Raises `ConfigError`, and changes nothing, when the
        file or the value is not valid or cannot be written."""
        from core.config import config_path
        from core.config_edit import set_value

        set_value(config_path(), key, value, lambda _: None)
        self._read_again()

    def save_choice(self, chosen: ModelChosen) -> None:
        """Write down which model answers, and the server it is on. Raises `ConfigError`."""
        if chosen.server is not None:
            place = ("providers", chosen.server_name)
            self.save((*place, "protocol"), chosen.server.protocol)
            self.save((*place, "api_base"), chosen.server.api_base)
        self.save(("model",), chosen.setting)

    def trust(self) -> str:
        """Let the project's own settings count in full from now on; a sentence about what that did. Raises
        `CaesuraError`."""
        from core.config import PROJECT_FILE, config_path
        from core.trust import trust

        # The file may have come, or have been changed, since.
        self._read_again()
        project = self.load().project
        if project is None:
            raise CaesuraError(f"There is no {PROJECT_FILE} here: there is nothing to trust.")
        untrusted = self.load().untrusted
        if not trust(config_path(), project.parent):
            return f"{project.parent} is trusted already."
        self._read_again()
        loaded = self.load()
        if not loaded.project_counts:
            return " ".join(
                (f"{project.parent} is trusted, but nothing of {project} counts.", *loaded.errors)
            )
        more = ", ..." if len(untrusted) > LISTED else ""
        what = f" ({', '.join(untrusted[:LISTED])}{more})" if untrusted else ""
        return (
            f"{project.parent} is trusted. What {project} sets{what} counts from the next session on, keys "
            "and a theme from the next start; models that it names can be asked at once."
        )

    def distrust(self) -> str:
        """Take that back. Raises `CaesuraError`."""
        from core.config import PROJECT_FILE, config_path
        from core.trust import distrust

        # The file may have come, or have been changed, since.
        self._read_again()
        project = self.load().project
        if project is None:
            raise CaesuraError(f"There is no {PROJECT_FILE} here: there is nothing to trust.")
        taken = distrust(config_path(), project.parent)
        self._read_again()
        if not taken:
            return f"{project.parent} is not trusted."
        return f"{project.parent} is no longer trusted, which counts from the next session on."

    def key_names(self) -> frozenset[str]:
        """The names under which the settings look for keys."""
        models = self.config.model_settings
        named = {server.key for server in models.providers.values()}
        return frozenset((named | {model.key for model in models.models.values()}) - {""})

    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets(self.key_names()))

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
        from core.config import add_allow_rule, config_path

        return partial(add_allow_rule, config_path(), self.workspace)

    def _read_again(self) -> None:
        """Here and now: whoever asks next may be on the event loop, and finds what was read."""
        loaded = self._read()
        with self._lock:
            self._loaded = loaded

    def _read(self) -> Loaded:
        from core.config import config_path, load_config

        return load_config(config_path(), self.workspace, options=self._options)


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
