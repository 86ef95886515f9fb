"""The contract itself: what promises_pending.txt may say, and that the check of all this really checks."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tests import promise_plugin
from tests.promise_plugin import Contract

FIRST_PENDING = {
    *("U9", "R1", "R2", "R4", "R5", "C1", "C2", "C3", "C4", "H3", "H4", "H5", "H7", "H8"),
    *("S4", "S5", "S8", "X1", "X2", "X3", "X4", "X5", "X6", "E3", "E4", "E8", "Q2", "Q5"),
}
"""What was pending when the first version was built, and then what the contract has got since. Nothing that
was ever proven is added here."""

COUNTS = {"T": 9, "U": 10, "P": 9, "R": 5, "C": 4, "H": 9, "S": 12, "X": 7, "E": 10, "Q": 5}


def test_the_contract_is_complete() -> None:
    promises = Contract.load().promises
    assert sorted(promises) == sorted(
        f"{letter}{n}" for letter, count in COUNTS.items() for n in range(1, count + 1)
    )


def test_the_pending_list_only_shrinks_and_gives_reasons() -> None:
    pending = Contract.load().pending
    lines = (promise_plugin.HERE / "promises_pending.txt").read_text(encoding="utf-8").splitlines()
    assert pending.keys() <= FIRST_PENDING
    assert len(lines) == len(pending), "one line for each promise"
    assert all(reason for reason in pending.values())


# ---- the plugin, on trees of its own

PROMISES = "# T - things\nT1 one.\nT2 two.\n\n# U - others\nU1 three.\n"
BOTH = """
    import pytest

    @pytest.mark.promise("T1", "T2")
    def test_a():
        pass
"""


@pytest.fixture
def tree(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    shutil.copy(Path(promise_plugin.__file__), pytester.path / "copied_plugin.py")
    pytester.syspathinsert()
    pytester.makeconftest('pytest_plugins = ["copied_plugin"]')
    pytester.makeini("[pytest]\nmarkers =\n    promise(*ids): promises\naddopts = --strict-markers\n")
    (pytester.path / "promises.md").write_text(PROMISES, encoding="utf-8")
    (pytester.path / "promises_pending.txt").write_text("U1 not built yet\n", encoding="utf-8")
    pytester.makepyfile(test_a=dedent(BOTH), test_b="def test_b():\n    pass\n")
    return pytester


def check(tree: pytest.Pytester, *arguments: str, passed: int = 0, failed: int = 0) -> str:
    result = tree.runpytest_inprocess("-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(passed=passed, failed=failed)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK)
    return "\n".join(line for line in result.outlines if line[:1].isupper() and ":" in line)


def test_all_proven_or_pending_passes(tree: pytest.Pytester) -> None:
    check(tree, passed=3)
    check(tree, str(tree.path), passed=3)


def test_a_promise_with_neither_test_nor_line_fails(tree: pytest.Pytester) -> None:
    (tree.path / "promises_pending.txt").write_text("\n", encoding="utf-8")
    assert check(tree, passed=2, failed=1).startswith("U1: no test is marked with it")


def test_a_pending_promise_that_has_a_test_fails(tree: pytest.Pytester) -> None:
    (tree.path / "promises_pending.txt").write_text("T2 later\nU1 later\n", encoding="utf-8")
    assert check(tree, passed=2, failed=1).startswith("T2: a test proves it")


def test_a_pending_line_for_no_promise_fails(tree: pytest.Pytester) -> None:
    (tree.path / "promises_pending.txt").write_text("U1 later\nU2 later\n", encoding="utf-8")
    assert check(tree, passed=2, failed=1).startswith("U2: promises_pending.txt names it")


def test_a_test_of_an_unknown_promise_fails_even_alone(tree: pytest.Pytester) -> None:
    tree.makepyfile(test_c=dedent(BOTH).replace("T2", "T3"))
    assert check(tree, passed=3, failed=1).startswith("T3: a test is marked with it")
    assert check(tree, "test_c.py", passed=1, failed=1).startswith("T3: a test is marked with it")
    check(tree, "test_b.py", passed=1)


@pytest.mark.parametrize(
    "part", [["test_b.py"], ["test_a.py::test_a"], ["-k", "test_b"], ["--deselect=test_a.py"]]
)
def test_a_part_of_the_suite_is_not_held_against_the_whole_contract(
    tree: pytest.Pytester, part: list[str]
) -> None:
    (tree.path / "promises_pending.txt").write_text("\n", encoding="utf-8")
    check(tree, *part, passed=1)
