"""Holds the tests against the contract beside them: promises.md, promises_pending.txt for what is to come.

A run of the whole suite gets one item more, which fails for a promise that has neither a test nor a pending
line, or both. A run of a part of it gets the item only when a test names a promise that there is none of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
PROMISE = re.compile(r"^([A-Z]\d+) ", re.MULTILINE)
SELECTING_OPTIONS = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf")


class ContractBroken(Exception):
    """Tests and contract do not match; its text says where, one line each."""


@dataclass(frozen=True)
class Contract:
    """`promises` are the ids of the contract, in its order, `pending` those whose part is not built yet."""

    promises: tuple[str, ...]
    pending: dict[str, str]

    @classmethod
    def load(cls, folder: Path = HERE) -> Contract:
        text = (folder / "promises.md").read_text(encoding="utf-8")
        lines = (folder / "promises_pending.txt").read_text(encoding="utf-8").splitlines()
        pending = [line.partition(" ") for line in lines if line.strip()]
        return cls(tuple(PROMISE.findall(text)), {name: reason.strip() for name, _, reason in pending})

    def unknown(self, marked: Iterable[str]) -> list[str]:
        return [
            f"{name}: a test is marked with it, but promises.md has no such promise"
            for name in sorted(set(marked) - set(self.promises))
        ]

    def unproven(self, marked: Iterable[str]) -> list[str]:
        """What is wrong when `marked` are the ids of all tests there are."""
        proven = set(marked)
        wrong = [
            f"{name}: no test is marked with it, and promises_pending.txt does not say why"
            for name in self.promises
            if name not in proven and name not in self.pending
        ]
        wrong += [
            f"{name}: a test proves it, so strike it from promises_pending.txt"
            for name in self.pending
            if name in proven
        ]
        wrong += [
            f"{name}: promises_pending.txt names it, but promises.md has no such promise"
            for name in self.pending
            if name not in self.promises
        ]
        return wrong


class ContractItem(pytest.Item):
    """The check, as an item of the run: it is counted and reported like a test."""

    def __init__(self, *, wrong: list[str], **more: Any) -> None:
        super().__init__(**more)
        self.wrong = wrong

    def runtest(self) -> None:
        if self.wrong:
            raise ContractBroken("\n".join(self.wrong))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if excinfo.errisinstance(ContractBroken) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return HERE / "promises.md", None, "every promise is proven or pending"


# First, so that what -k and -m leave out is still seen: the question is which tests there are.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    contract = Contract.load()
    marked = [name for item in items for mark in item.iter_markers("promise") for name in mark.args]
    wrong = contract.unknown(marked)
    whole = is_whole(config)
    if whole:
        wrong += contract.unproven(marked)
    if whole or wrong:
        items.append(ContractItem.from_parent(session, name="promises", wrong=wrong))


def is_whole(config: pytest.Config) -> bool:
    """Whether this run collects every test there is: this folder or one above it, and nothing left out."""
    if any(config.getoption(option, default=None) for option in SELECTING_OPTIONS):
        return False
    given = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    return any(HERE.resolve().is_relative_to(folder) for folder in given)
