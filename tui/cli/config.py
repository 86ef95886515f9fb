"""The command line of `caesura config`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from core.config.schema import Config
    from core.frontends.config import ConfigCommand


def add_config_actions(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command `config`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    add("show", "print all values that hold, with where they come from")
    add("manual", "print every setting with its meaning and its default")
    add("get", "print one value").add_argument("key", metavar="KEY", help="such as tools.max_steps")
    setting = add("set", "change one value in your own file, comments kept")
    setting.add_argument("key", metavar="KEY", help="such as tools.max_steps")
    setting.add_argument("value", metavar="VALUE", help="as in TOML; text needs no quotation marks")
    add("unset", "take one value out of your own file").add_argument("key", metavar="KEY")
    add("path", "print where your own file is")
    add("edit", "open your own file in $VISUAL or $EDITOR, and check it afterwards")
    check = add("check", "check every place that settings come from, or with --server what a server takes")
    check.add_argument(
        "--server",
        metavar="NAME",
        help="ask the server of [providers.NAME] with a few small requests, and print the settings that it "
        "needs; the exit code is 0 if it needs none, else 1",
    )
    # A missing option must not overwrite the one before `config`, as a default of None would.
    check.add_argument(
        "--model",
        metavar="MODEL",
        default=argparse.SUPPRESS,
        help="the model to ask the server for: else one of the settings, or the first that it lists",
    )
    add("trust", "let the .caesura.toml of this folder set whatever it wants").add_argument(
        "--remove", action="store_true", help="no longer"
    )


def config_command(options: argparse.Namespace) -> ConfigCommand:
    """The command that the arguments name; `caesura config` alone shows the settings."""
    from core.frontends import config as front_end

    action: str = options.action or "show"
    match action:
        case "show":
            return front_end.Show()
        case "manual":
            return front_end.Manual()
        case "get":
            return front_end.Get(options.key)
        case "set":
            return front_end.Set(options.key, options.value)
        case "unset":
            return front_end.Unset(options.key)
        case "path":
            return front_end.ShowPath()
        case "edit":
            return front_end.Edit()
        case "check":
            return front_end.Check()
        case "trust":
            return front_end.Trust(remove=options.remove)
        case _:
            raise AssertionError(f"no action of `caesura config`: {action}")


def check_theme(config: Config, own: Path) -> None:
    """Check that the theme exists; `own` is the folder of the person's themes. Raises `CaesuraError`."""
    if config.theme != "auto":
        from tui.theme.files import load_theme

        load_theme(config.theme, own)


def check_keys(config: Config) -> None:
    """Check the keys, whose names only the screen knows. Raises `CaesuraError`."""
    if config.keys:
        from tui.keys.bindings import apply_keymap

        apply_keymap(config.keys)
