"""The settings of all sessions: read once, in a thread, when they are first needed.

The first frame does not need them, so what reads them is imported only then. What the person changes through
the screen goes to the same file, which is read again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.folders import PROJECT_FILE, config_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from core.config.load import Loaded
    from core.config.schema import Config
    from core.model.settings import ModelSettings
    from core.model.setup import ModelChosen
    from core.permissions.policy import Rule
    from core.process.containment import Containment


class Settings:
    """The settings that hold in a workspace, and the changes that the screen makes to them.

    `secrets` gives the variables of the environment that no child process gets; it is called with those that
    the settings name as keys. `options` are what the command line sets, by dotted keys. All methods but
    `models` block, and are for a thread.
    """

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
        self._shown: set[str] = set()

    def load(self) -> Loaded:
        """The settings, read once and again after each change made through this object. Never raises."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    @property
    def config(self) -> Config:
        return self.load().config

    async def models(self) -> ModelSettings:
        """What the settings say of models and routes; read in a thread if they were not read before."""
        from core.base.threads import run_in_thread

        loaded = self._loaded
        if loaded is None:
            loaded = await run_in_thread(self.load, name="settings")
        return loaded.config.model_settings

    def news(self, sentences: Iterable[str]) -> tuple[str, ...]:
        """The sentences that were not passed to this method before, so that each is shown only once."""
        with self._lock:
            new = tuple(sentence for sentence in dict.fromkeys(sentences) if sentence not in self._shown)
            self._shown.update(new)
            return new

    def save(self, key: tuple[str, ...], value: object) -> None:
        """Give a setting a value in the person's file.

        Raises `ConfigError`, and changes nothing, when the file or the value is not valid or cannot be
        written.
        """
        from core.config.edit import set_value

        set_value(config_path(), key, value, lambda _: None)
        self._read_again()

    def save_choice(self, chosen: ModelChosen) -> None:
        """Save which model answers, and the server it is on. Raises `ConfigError`."""
        if chosen.server is not None:
            place = ("providers", chosen.server_name)
            self.save((*place, "protocol"), chosen.server.protocol)
            self.save((*place, "api_base"), chosen.server.api_base)
        self.save(("model",), chosen.setting)

    def trust(self) -> str:
        """Trust the project's folder. Returns a sentence about what that did. Raises `CaesuraError`."""
        from core.config.load import LISTED
        from core.config.trust import trust

        project = self._project()
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
        """No longer trust the project's folder. Returns a sentence. Raises `CaesuraError`."""
        from core.config.trust import distrust

        project = self._project()
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
        """How the processes of this command line are held together; None for the strongest there is."""
        from core.permissions.shell_analysis import commands

        return self.config.tools.containment_of(line, commands(line)).containment

    @property
    def containment(self) -> Containment | None:
        """How the processes of Caesura's own tools are held together; no rule names them."""
        return self.config.tools.containment.containment

    def keep_rule(self, rule: Rule) -> None:
        """Keep an answer "always" in `permissions.toml`. Raises `ConfigError`."""
        from core.config.kept_rules import add_allow_rule

        add_allow_rule(config_path(), self.workspace, rule)

    def _project(self) -> Path:
        """The project's file. Raises `CaesuraError` if there is none."""
        # It may have been made or changed since the settings were read.
        self._read_again()
        project = self.load().project
        if project is None:
            raise CaesuraError(f"There is no {PROJECT_FILE} here: there is nothing to trust.")
        return project

    def _read_again(self) -> None:
        """Read at once: the next caller may be on the event loop, and must find the settings read."""
        loaded = self._read()
        with self._lock:
            self._loaded = loaded

    def _read(self) -> Loaded:
        from core.config.load import load_config

        return load_config(config_path(), self.workspace, options=self._options)
