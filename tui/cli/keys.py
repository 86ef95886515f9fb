"""`caesura keys`: its words on the command line, and what they ask for.

A key is never an argument: arguments are in the shell's history and in every list of processes. One that is
given all the same is refused, and not repeated.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.errors import CaesuraError

if TYPE_CHECKING:
    from core.key_commands import KeysCommand

_NAME = "a provider, as in anthropic, or the name of a variable, as in TEAM_LLM_KEY"


class KeyShown(CaesuraError):
    """A key was given where everybody can see it."""


def add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Let `caesura` know `keys`."""
    parser = commands.add_parser("keys", help="list, store, remove and test the keys of model providers")
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
    # Not given is not the same as None here: it must not undo what stood before `keys`.
    test.add_argument("--model", metavar="NAME", default=argparse.SUPPRESS, help="the model to ask")
    test.add_argument("--api-base", metavar="URL", default=argparse.SUPPRESS, help="its server's address")
    for action in (store, remove, test):
        # Only to be refused, for argparse would repeat what it does not know.
        action.add_argument("shown", nargs="*", default=[], help=argparse.SUPPRESS)
        action.add_argument("--key", "--value", "--api-key", dest="option", nargs="?", help=argparse.SUPPRESS)


def keys_command(options: argparse.Namespace) -> KeysCommand:
    """What the arguments of `add_keys` ask for; `caesura keys` alone lists. Raises `KeyShown`."""
    from core.key_commands import KeyPlace, ListKeys, RemoveKey, SetKey, TryKey

    action: str = options.action or "list"
    if action != "list" and (options.shown or options.option is not None):
        raise KeyShown(
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
    """The name again, unless it could be the key: the two are easily given in the wrong order."""
    is_safe = 0 < len(name) < 20 and not any(character.isdigit() for character in name)
    return name if is_safe else "NAME"
