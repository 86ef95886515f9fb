"""The command line of `caesura sessions`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.frontends.sessions import SessionsCommand


def add_sessions_actions(parser: argparse.ArgumentParser) -> None:
    """Add the actions of the command `sessions`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, text: str, *, session: bool = True) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if session:
            action.add_argument("session", metavar="ID", help="an id, or enough of its beginning")
        return action

    listed = add("list", "list the sessions of this folder, those used last first", session=False)
    listed.add_argument("--all", action="store_true", dest="everywhere", help="those of all folders")
    listed.add_argument("-n", type=_natural, dest="limit", metavar="N", help="only so many")
    search = add("search", "find the sessions in which all of these words were said", session=False)
    search.add_argument("words", nargs="+", metavar="WORD")
    show = add("show", "print a session as Markdown")
    export = add("export", "write a session to a file, as Markdown or as JSON")
    export.add_argument("file", nargs="?", metavar="FILE", help="a new file, or - for standard output")
    for parser_with_json in (listed, search, show, export):
        parser_with_json.add_argument("--json", action="store_true", help="as JSON")
    imported = add("import", "read a session that was exported as JSON, and print its new id", session=False)
    imported.add_argument("file", metavar="FILE")
    add("rename", "give a session another title").add_argument("words", nargs="+", metavar="TITLE")
    add("delete", "delete a session for good").add_argument(
        "--yes", action="store_true", help="without a question"
    )
    add("fork", "copy a session, and print the id of the copy").add_argument(
        "--steps", type=_natural, metavar="N", help="only its first N steps"
    )


def sessions_command(options: argparse.Namespace) -> SessionsCommand:
    """The command that the arguments name; `caesura sessions` alone lists."""
    from pathlib import Path

    from core.frontends import sessions as front_end
    from core.frontends.headless import Output
    from core.session.archive import Format

    action: str = options.action or "list"
    json = getattr(options, "json", False) or (action == "export" and (options.file or "").endswith(".json"))
    output = Output.JSON if json else Output.TEXT
    form = Format.JSON if json else Format.MARKDOWN
    match action:
        case "list":
            return front_end.List(
                getattr(options, "everywhere", False), getattr(options, "limit", None), output
            )
        case "search":
            return front_end.Search(" ".join(options.words), output)
        case "show":
            return front_end.Show(options.session, form)
        case "export" if options.file == "-":
            return front_end.Show(options.session, form)
        case "export":
            path = None if options.file is None else Path(options.file)
            return front_end.Export(options.session, path, form)
        case "import":
            return front_end.Import(Path(options.file))
        case "rename":
            return front_end.Rename(options.session, " ".join(options.words))
        case "delete":
            return front_end.Delete(options.session, confirmed=options.yes)
        case "fork":
            return front_end.Fork(options.session, options.steps)
        case _:
            raise AssertionError(f"no action of `caesura sessions`: {action}")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number: give 0 or more")
    return int(text)
