"""Change one setting in the person's own file and keep the rest: comments, order, line ends.

The text is edited in place and parsed again: only that key may have changed. Where that is not possible the
file is written anew, and a copy of the old one is kept if comments were lost. A file that is not valid is
never changed, and no value is written that would make it so. All of it blocks, and is for a thread.

Why not `tomlkit` (measured with 0.15.2): it puts a new key below the comment of the next table, so that the
comment explains the wrong setting; it adds LF lines to a file with CRLF; and it knows no line numbers, which
errors need, so `core.config.toml_lines` would stay.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import tomli_w

from core.base.atomic_files import signature_of
from core.base.errors import CaesuraError
from core.base.values import Value
from core.config.errors import ConfigError
from core.config.files import Document, locked, parse, read_document, write_document
from core.config.layers import BY_DEFAULT, LayerKind, Stack, nested, value_at
from core.config.schema import Config
from core.config.sources import file_layer, flat
from core.config.toml_lines import Entry, Section, comments_of, sections_of
from core.config.tree import Named, Setting, dotted, find, quoted, shown
from core.config.validation import Fault, validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from core.config.tree import Key


class Edited(Value):
    """The file that was changed. `backup` is a copy of the old one, made only if comments were lost."""

    path: Path
    backup: Path | None = None


def set_value(path: Path, key: Key, value: object, check: Callable[[Config], object]) -> Edited:
    """Give a setting a value in the file at `path`; `value` is as TOML has it.

    `check` may refuse the resulting settings of the file with a `CaesuraError`. Raises `ConfigError`, and
    changes nothing, when the file or the value is not valid or cannot be written.
    """
    _demand_value(key)
    return _edit(path, check, key, value)


def unset_value(path: Path, key: Key, check: Callable[[Config], object]) -> Edited:
    """Remove a setting, or everything under a name, from the file.

    Raises as `set_value` does, and when the file does not set it.
    """
    find(key)
    return _edit(path, check, key, _REMOVED)


_REMOVED = object()
"""In place of a value: the key is to be removed."""


def _edit(path: Path, check: Callable[[Config], object], key: Key, value: object) -> Edited:
    with locked(path) as target:
        document = read_document(target)
        config = Stack().with_layer(file_layer(LayerKind.USER, document)).config
        wanted = copy.deepcopy(document.table)
        _put(wanted, key, value, target)
        # If the check refuses the file as it is, this change is not to blame: it may be the repair.
        _validate_change(document, wanted, check if _passes(check, config) else lambda _: None)
        text = _edited(document, key, value, wanted)
        keeps_comments = text is not None and not comments_of(document.text) - comments_of(text)
        if text is None:
            text = tomli_w.dumps(_pruned(wanted))
        try:
            content = (document.bom + text).encode()
        except UnicodeError as error:
            raise ConfigError(f"{target} was not changed: the value is not UTF-8 text.") from error
        backup = None
        if not (keeps_comments or value is _REMOVED or not comments_of(document.text)):
            backup = _keep_copy(document)
        write_document(target, content, document)
        return Edited(target, backup)


def _passes(check: Callable[[Config], object], config: Config) -> bool:
    try:
        check(config)
    except CaesuraError:
        return False
    return True


def _keep_copy(document: Document) -> Path:
    """Copy the file to one beside it, which replaces an older copy."""
    copied = document.path.with_name(f"{document.path.name}.bak")
    standing = Document(copied, signature=signature_of(copied))
    write_document(copied, (document.bom + document.text).encode(), standing)
    return copied


def _demand_value(key: Key) -> None:
    node, around = find(key), find(key[:-1])
    if isinstance(node, Setting) or isinstance(around, Named):
        return
    if isinstance(node, Named):
        raise ConfigError(f"{shown(key)} has names in it: set one of them, as in {shown(key)}.NAME.")
    names = ", ".join(f"{dotted(key)}.{name}" for name in node.children)
    raise ConfigError(f"{shown(key) or 'this'} is a table: set one of {names}.")


def _validate_change(document: Document, wanted: dict[str, Any], check: Callable[[Config], object]) -> None:
    """Raise `ConfigError` about the value that is asked for, not about a line of the file."""
    try:
        values = {key: (value, BY_DEFAULT) for key, value in flat(wanted)}
        check(validate(Config, nested(values)))
    except Fault as fault:
        raise ConfigError(f"{document.path} was not changed: {fault}") from None


def _put(table: dict[str, Any], key: Key, value: object, path: Path) -> None:
    inner: Any = table
    for part in key[:-1]:
        inner = inner.setdefault(part, {}) if value is not _REMOVED else inner.get(part, {})
    if value is not _REMOVED:
        inner[key[-1]] = value
    elif inner.pop(key[-1], _REMOVED) is _REMOVED:
        raise ConfigError(f"{shown(key)} is not set in {path}: there is nothing to unset.")


def _edited(document: Document, key: Key, value: object, wanted: dict[str, Any]) -> str | None:
    """The text with the change made in place; None where that is not possible."""
    text = document.text
    sections = sections_of(text)
    changed = _without(text, sections, key) if value is _REMOVED else _with(text, sections, key, value)
    if changed is None:
        inline = _inline_holder(sections, key)
        if inline is None or "\n" in text[inline.start : inline.end]:
            return None
        changed = (
            text[: inline.start] + rendered(value_at(wanted, key[: len(inline.path)])) + text[inline.end :]
        )
    try:
        table = parse(document.path, changed)
    except ConfigError:
        return None
    return changed if _pruned(table) == _pruned(wanted) else None


def _with(text: str, sections: list[Section], key: Key, value: object) -> str | None:
    """The text with `key` set; None where it is in an inline table, or is a table with a header."""
    for entry in (entry for section in sections for entry in section.entries):
        if entry.path == key:
            return text[: entry.start] + rendered(value) + text[entry.end :]
        if entry.path == key[: len(entry.path)]:
            return None
    if any(section.path[: len(key)] == key for section in sections):
        return None
    newline = "\r\n" if "\r\n" in text else "\n"
    section, beside = _section_for(sections, key)
    if section is None:
        line = f"[{dotted(key[:-1])}]{newline}{quoted(key[-1])} = {rendered(value)}{newline}"
        gap = "" if not text else newline if text.endswith("\n") else newline * 2
        return f"{text}{gap}{line}"
    line = f"{dotted(key[len(section.path) :])} = {rendered(value)}"
    return _inserted(text, section, beside, line, newline)


def _section_for(sections: list[Section], key: Key) -> tuple[Section | None, Entry | None]:
    """The section that a new key belongs to, and the entry that it follows."""
    for section in sections:
        if section.path == key[:-1] and (section.path or len(key) == 1):
            return section, section.entries[-1] if section.entries else None
    # A header may not open a table that dotted keys have made.
    for section in sections:
        for entry in reversed(section.entries):
            if len(entry.path) > len(section.path) + 1 and entry.path[: len(key) - 1] == key[:-1]:
                return section, entry
    return None, None


def _inserted(text: str, section: Section, beside: Entry | None, line: str, newline: str) -> str:
    if beside is None and not section.path:
        at = _after_head(text)
        gap = newline if text[at:].strip() and not text[at:].startswith(("\n", "\r\n")) else ""
        return f"{text[:at]}{line}{newline}{gap}{text[at:]}"
    at = _line_end(text, beside.end if beside is not None else section.after_header)
    if at == len(text) and not text.endswith("\n"):
        return f"{text}{newline}{line}{newline}"
    return f"{text[:at]}{line}{newline}{text[at:]}"


def _after_head(text: str) -> int:
    """The offset after the comments at the top, if an empty line separates them from the rest."""
    at = 0
    while text.startswith("#", at):
        at = _line_end(text, at)
    if at and text[at:].startswith(("\n", "\r\n")):
        return _line_end(text, at)
    return at if not text[at:].strip() else 0


def _without(text: str, sections: list[Section], key: Key) -> str | None:
    """The text without `key` and everything below it; None where no lines of their own say it."""
    cuts: list[tuple[int, int]] = []
    for section in sections:
        if section.path and section.path[: len(key)] == key:
            cuts.append((section.begin, _line_end(text, section.end)))
            continue
        cuts += [
            (entry.begin, _line_end(text, entry.end))
            for entry in section.entries
            if entry.path[: len(key)] == key
        ]
    for begin, end in reversed(cuts):
        text = text[:begin] + text[end:]
    return text if cuts else None


def _line_end(text: str, at: int) -> int:
    """The offset after the end of the line."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _inline_holder(sections: list[Section], key: Key) -> Entry | None:
    """The entry whose inline table contains the key."""
    entries = (entry for section in sections for entry in section.entries)
    return next((each for each in entries if each.path == key[: len(each.path)] and each.path != key), None)


def rendered(value: object) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{quoted(str(name))} = {rendered(each)}" for name, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(rendered(each) for each in value)}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").rstrip("\n")


def _pruned(table: dict[str, Any]) -> dict[str, Any]:
    """The tables without empty ones."""
    inner = {name: _pruned(each) if isinstance(each, dict) else each for name, each in table.items()}
    return {name: each for name, each in inner.items() if each != {}}
