"""T8: who runs under a token is told which one. An optional token is how a stop gets lost on its way down."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]

OPTIONAL_TOKENS = [
    "def f(token: CancelToken | None): ...",
    "def f(token: CancelToken = STOP): ...",
    "async def f(*, token: Optional[CancelToken]): ...",
    "class C:\n  def f(self, a: int = 1, token: 'None | cancel.CancelToken' = None): ...",
    "f = lambda: 0\ndef g(*, token: CancelToken = STOP): ...",
    "@dataclass(frozen=True)\nclass C:\n  token: CancelToken | None = None",
]


@pytest.mark.promise("T8")
@pytest.mark.parametrize("source", OPTIONAL_TOKENS)
def test_an_optional_token_is_found(source: str) -> None:
    assert list(_optional_tokens(ast.parse(source)))


@pytest.mark.slow
@pytest.mark.promise("T8")
def test_no_function_takes_an_optional_token() -> None:
    found = set()
    for package in ("core", "providers", "tui"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {f"{path.relative_to(ROOT)}: {name}" for name in _optional_tokens(tree)}
    assert found == {"core/cancel.py: __init__(parent)"}, "only a token may be without parent"


def _optional_tokens(tree: ast.Module) -> Iterator[str]:
    """Parameters and dataclass fields that take a token and may be left out or None."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument, default in _parameters(node.args):
                if _optional(argument.annotation, default):
                    yield f"{node.name}({argument.arg})"
        elif isinstance(node, ast.ClassDef) and node.decorator_list:
            for line in node.body:
                if isinstance(line, ast.AnnAssign) and _optional(line.annotation, line.value):
                    yield f"{node.name}.{ast.unparse(line.target)}"


def _parameters(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(positional) - len(arguments.defaults))
    yield from zip(positional, [*without, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)


def _optional(annotation: ast.expr | None, default: ast.expr | None) -> bool:
    if annotation is None:
        return False
    text = ast.unparse(annotation)
    return "CancelToken" in text and (default is not None or "None" in text or "Optional" in text)
