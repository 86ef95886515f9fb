"""Inline markup of one paragraph: emphasis, code, links. The markup is parsed by markdown-it-py.

All output of this module passes through `core.base.sanitize`, entities such as `&#x202e;` too, and only http,
https and mailto become links. markdown-it is imported with the first text that needs it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from core.base.sanitize import hyperlink_target, printable
from tui.transcript.markdown.spans import Look, Part

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from tui.transcript.markdown.spans import Span, Spans

_MARKUP = re.compile(r"[\\`*_~\[<&]|https?://|  \n|\n ")
_URL = re.compile(r"https?://[^\s<>\"'`]+")
_MARK = re.compile(r"\\.|`+|\*{1,3}|_{1,3}|~~", re.DOTALL)
_HALF_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\Z")
_TRAILING_MARKS = re.compile(r"(?<!\\)[*_~`]+\Z")


@lru_cache(maxsize=1)
def _markdown_it() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("strikethrough")


@lru_cache(maxsize=128)
def inline_spans(source: str, look: Look) -> Spans:
    """`source` as spans, based on `look`. Newlines are kept, because a model breaks lines on purpose."""
    if _MARKUP.search(source) is None:
        return ((source, look),) if source else ()
    children = _markdown_it().parseInline(source)[0].children or []
    spans: list[Span] = []
    outer: list[Look] = []
    target: str | None = None
    for token in children:
        match token.type:
            case "strong_open":
                outer.append(look)
                look = look._replace(bold=True)
            case "em_open":
                outer.append(look)
                look = look._replace(italic=True)
            case "s_open":
                outer.append(look)
                look = look._replace(strike=True)
            case "link_open":
                outer.append(look)
                target = str(token.attrs.get("href", ""))
                if url := hyperlink_target(target):
                    look = look._replace(part=Part.LINK, link=url)
            case "strong_close" | "em_close" | "s_close":
                look = outer.pop()
            case "link_close":
                if target and not look.link:
                    spans.append((printable(f" ({target})"), outer[-1]))
                look, target = outer.pop(), None
            case _:
                spans += _leaf(token, look, linked=target is not None)
    return tuple(spans)


def _leaf(token: Token, look: Look, *, linked: bool) -> list[Span]:
    match token.type:
        case "softbreak" | "hardbreak":
            return [("\n", look)]
        case "code_inline":
            return [(printable(token.content), look._replace(part=Part.INLINE_CODE))]
        case "image":
            url = hyperlink_target(str(token.attrs.get("src", "")))
            text = printable(token.content) or "image"
            return [(text, look._replace(part=Part.LINK, link=url or look.link))]
        case _:
            text = printable(token.content)
            return [(text, look)] if linked or "://" not in text else _bare_links(text, look)


def _bare_links(text: str, look: Look) -> list[Span]:
    spans: list[Span] = []
    position = 0
    for found in _URL.finditer(text):
        url = found.group().rstrip(".,;:!?*_]}")
        while url.endswith(")") and url.count(")") > url.count("("):
            url = url[:-1]
        target = hyperlink_target(url)
        if target is None:
            continue
        spans.append((text[position : found.start()], look))
        spans.append((url, look._replace(part=Part.LINK, link=target)))
        position = found.start() + len(url)
    spans.append((text[position:], look))
    return [span for span in spans if span[0]]


def open_marks(source: str) -> tuple[str, ...]:
    """The marks (`**`, backticks ...) that `source` opens and does not close: a guess, not a parse."""
    stack: list[str] = []
    code = ""
    for found in _MARK.finditer(source):
        mark = found.group()
        if code:
            code = "" if mark == code else code
        elif mark[0] == "`":
            code = mark
        elif mark[0] != "\\":
            before = source[found.start() - 1 : found.start()]
            after = source[found.end() : found.end() + 1]
            if mark in stack and before and not before.isspace():
                del stack[stack.index(mark) :]
            elif after and not after.isspace() and not (mark[0] == "_" and before.isalnum()):
                stack.append(mark)
    return (*stack, code) if code else tuple(stack)


def close_marks(source: str) -> str:
    """`source`, which is still growing, with its open marks closed, so that they are not displayed."""
    source = _HALF_LINK.sub(r"\1", source)
    found = _TRAILING_MARKS.search(source)
    opened = open_marks(source)
    if found and not (opened and opened[-1][0] == "`"):
        before = source[: found.start()]
        closed = open_marks(before)
        if not closed or closed[-1] != found.group():
            source, opened = before, closed
    text = source.rstrip()
    return text + "".join(reversed(opened)) + source[len(text) :] if opened else source
