"""The request of `web_fetch` to its process, and the page that it gets. It imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MARK = "\x1e"
"""Separates the page from what the process prints before it; an address cannot contain it."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to fetch; `redirects` are those that may still be followed, within the host."""

    url: str
    redirects: int


@dataclass(frozen=True, slots=True)
class Page:
    """What came. `leads_to` is the address of another host that it points to instead, or empty; `redirects`
    are those that are left. `note` says what is left out of the text."""

    url: str
    status: int
    kind: str
    title: str = ""
    leads_to: str = ""
    redirects: int = 0
    note: str = ""

    def print(self, text: str) -> str:
        """Page and text as the process writes them."""
        return f"{MARK}{json.dumps(asdict(self))}\n{text}"


def read_page(printed: str) -> tuple[Page, str]:
    """Page and text of what the process printed. Raises `ValueError` if there is no page in it."""
    head, _, text = printed.partition(MARK)[2].partition("\n")
    return Page(**json.loads(head)), text
