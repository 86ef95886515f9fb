"""Whether a reply comes back: whole, or as far as it had come when something cut it off.

What stands before another thing in a reply had come whole when that came. So nothing may be missing in a part
of a reply but at its end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.servers.record import Request

    Json = Mapping[str, Any]

IDS = ("id", "call_id")
LEADS_TO = ("content", "tool_calls", "parts")
"""The fields of a message that others of it lead to."""
LATE = ("thoughtSignature", "signature")
"""These come after what they are about."""
BLANK = ("", " ")
"""In a field that has to be there."""


def messages_of(request: Request) -> list[dict[str, Any]]:
    """Messages, contents or items. What is null or an empty list may as well be missing."""
    body = request.body
    given = body.get("messages") or body.get("contents") or body.get("input") or ()
    return [
        {name: value for name, value in it.items() if value not in (None, [])}
        for it in given
        if isinstance(it, dict)
    ]


def lost(come: Sequence[Json], made: Sequence[tuple[Sequence[Json], bool]]) -> Iterator[str]:
    """What of `made` is not in `come`: replies as the items that they have to come back as, in their order,
    each with whether it was whole."""
    start = 0
    for items, whole in made:
        places = (start + shift for shift in range(len(come) - start))
        place = next((at for at in places if _is_at(come[at:], items, whole)), None)
        if place is None:
            yield f"{'a reply' if whole else 'part of a reply'} is not what it was: {items} in {come}"
        else:
            start = place + 1


def _is_at(come: Sequence[Json], items: Sequence[Json], whole: bool) -> bool:
    """Whether `come` begins with these items, or with so many of them."""
    for number, item in enumerate(items):
        if number < len(come) and is_same(come[number], item):
            continue
        if whole:
            return False
        return number > 0 or (bool(come) and is_part(come[0], item))
    return True


def is_same(come: Any, item: Any) -> bool:
    """An id that was not given does not matter, nor does a field that says nothing."""
    match come, item:
        case dict(), dict():
            known = {name for name in item if name not in IDS or item[name]}
            extra = {name for name in come if name not in (*known, *IDS) and come[name] not in BLANK}
            return not extra and all(name in come and is_same(come[name], item[name]) for name in known)
        case list(), list():
            return len(come) == len(item) and all(map(is_same, come, item))
        case _:
            return bool(come == item)


def is_part(come: Any, item: Any) -> bool:
    """Whether `come` is what `item` was until something cut it off."""
    match come, item:
        case dict(), dict():
            mine = {name for name in come if name not in IDS and (name in item or come[name] not in BLANK)}
            first = {name for name in item if name not in (*IDS, *LEADS_TO, *LATE)}
            return first <= mine <= item.keys() and all(_is_part_of_field(it, come, item) for it in mine)
        case list(), list():
            return (
                0 < len(come) <= len(item)
                and all(map(is_same, come[:-1], item))
                and (is_same(come[-1], item[len(come) - 1]) or is_part(come[-1], item[len(come) - 1]))
            )
        case str(), str():
            return item.startswith(come)
        case _:
            return bool(come == item)


def _is_part_of_field(name: str, come: Json, item: Json) -> bool:
    mine, whole = come[name], item[name]
    if name in ("arguments", "input", "args"):
        return is_same(mine, whole) or _is_quoted(mine, whole)
    if name == "tool_calls":
        return is_part(mine, whole)
    if isinstance(whole, str) and (name not in ("content", "text") or "tool_calls" in come):
        return is_same(mine, whole)
    return is_same(mine, whole) if "tool_calls" in come else is_part(mine, whole)


def _is_quoted(arguments: Any, whole: Any) -> bool:
    """Arguments that broke off go back in quotes; there are none if that was before their first piece."""
    read = json.loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(read, dict) or list(read) != ["unreadable"]:
        return read == {}
    return not isinstance(whole, str) or whole.startswith(read["unreadable"])
