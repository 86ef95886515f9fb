"""The command line of `caesura keys`.

A key is never an argument: arguments are in the shell's history and in lists of processes. A key that is
given as one is refused and not repeated in the message.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError

if TYPE_CHECKING:
    from core.model.key_commands import KeysCommand

_NAME = "a provider, as in anthropic, or the name of a variable, as in TEAM_LLM_KEY"


def add_keys_actions(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command `keys`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    add("list", "list where there are keys, and never a key")
    store = add("set", "store a key, typed in unseen or piped in, in the keyring")
    store.add_argument("name", metavar="NAME", help=_NAME)
    store.add_argument(
        "--file",
        action="store_true",
        help="keep it in keys.toml beside the settings instead: readable by you alone, but not encrypted",
    )
    remove = add("remove", "remove a key from where it is kept")
    remove.add_argument("name", metavar="NAME", help=_NAME)
    test = add("test", "make one request that costs next to nothing, with each key or with one")
    test.add_argument("name", metavar="NAME", nargs="?", help=_NAME)
    # A missing option must not overwrite the one before `keys`, as a default of None would.
    test.add_argument("--model", metavar="NAME", default=argparse.SUPPRESS, help="the model to ask")
    test.add_argument("--api-base", metavar="URL", default=argparse.SUPPRESS, help="its server's address")
    for action in (store, remove, test):
        # Accepted to be refused: argparse would repeat an unknown argument in its message.
        action.add_argument("shown", nargs="*", default=[], help=argparse.SUPPRESS)
        action.add_argument("--key", "--value", "--api-key", dest="option", nargs="?", help=argparse.SUPPRESS)


def keys_command(options: argparse.Namespace) -> KeysCommand:
    """The command that the arguments name; `caesura keys` alone lists. Raises `CaesuraError` for a
    key that is given as an argument."""
    from core.model.key_commands import KeyPlace, ListKeys, RemoveKey, SetKey, TryKey

    action: str = options.action or "list"
    if action != "list" and (options.shown or options.option is not None):
        raise CaesuraError(
            "a key is not given on the command line, where others can see it. If that was one, it is now in "
            "the history of your shell: remove it there, or replace the key. Nothing was done: "
            f"`caesura keys set {_safe(options.name or '')}` asks for the key unseen."
        )
    match action:
        case "list":
            return ListKeys()
        case "set":
            return SetKey(options.name, KeyPlace.FILE if options.file else KeyPlace.KEYRING)
        case "remove":
            return RemoveKey(options.name)
        case "test":
            return TryKey(options.name, getattr(options, "model", None), getattr(options, "api_base", None))
        case _:
            raise AssertionError(f"no action of `caesura keys`: {action}")


def _safe(name: str) -> str:
    """The name, or NAME if it could be a key: the two are easily given in the wrong order."""
    is_safe = 0 < len(name) < 20 and not any(character.isdigit() for character in name)
    return name if is_safe else "NAME"
