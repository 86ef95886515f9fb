"""What holds for all rules and all paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.permissions.access import Access, AccessKind, Workspace
from core.permissions.policy import Mode, Permissions, Rule, Rules, Verdict
from core.permissions.rules import allows, forbids

if TYPE_CHECKING:
    from core.permissions.rules import Subject

quick = settings(deadline=None, max_examples=200)

TOOL_NAMES = ["read_file", "edit_file", "shell", "*"]
PATTERNS = ["*", "**", "src/**", "src/*", "*.py", "a.py", "link/**", "**/*.py", "make *", "make", "./.env"]
some_rules = st.lists(
    st.builds(Rule, st.sampled_from(TOOL_NAMES), st.sampled_from(PATTERNS)), max_size=3
).map(tuple)
PARTS = ["src", "a.py", "..", ".", "link", "back", "loop", "new", ".env", "out", "deep"]
some_paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=7).map("/".join)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("base")
    root = base / "project"
    (root / "src" / "deep").mkdir(parents=True)
    (base / "out" / "deep").mkdir(parents=True)
    (base / "out" / "a.py").write_text("")
    (base / "out" / "back").symlink_to(root)
    (root / "link").symlink_to(base / "out")
    (root / "src" / "link").symlink_to("../../out/deep")
    (root / "loop").symlink_to("loop")
    return root


def access(root: Path, kind: AccessKind, given: str) -> Access:
    paths = (root,) if kind is AccessKind.COMMAND else (root / given,)
    return Access(kind, "make a.py" if kind is AccessKind.COMMAND else given, paths)


@quick
@given(
    allow=some_rules,
    ask=some_rules,
    deny=some_rules,
    mode=st.sampled_from(Mode),
    kind=st.sampled_from([AccessKind.READ, AccessKind.EDIT]),
    path=some_paths,
)
def test_deny_outranks_ask_and_ask_outranks_allow(
    root: Path,
    allow: tuple[Rule, ...],
    ask: tuple[Rule, ...],
    deny: tuple[Rule, ...],
    mode: Mode,
    kind: AccessKind,
    path: str,
) -> None:
    tool = f"{kind}_file"
    asked = access(root, kind, path)

    def verdict(
        *, allow: tuple[Rule, ...] = (), ask: tuple[Rule, ...] = (), deny: tuple[Rule, ...] = ()
    ) -> Verdict:
        permissions = Permissions(Workspace(root), mode=mode, rules=Rules(allow, ask, deny))
        return permissions.decide(tool, asked).verdict

    plan_denies = verdict() is Verdict.DENY
    denied = verdict(deny=deny) is Verdict.DENY
    asks = verdict(ask=ask) is Verdict.ASK
    found = verdict(allow=allow, ask=ask, deny=deny)
    if denied or plan_denies:
        assert found is Verdict.DENY
    elif asks and verdict(allow=allow, ask=ask) is Verdict.ASK:
        assert found is Verdict.ASK
    else:
        assert found is verdict(allow=allow, ask=ask) is verdict(allow=allow)
    # A rule more that denies never lets more run, one that allows never less.
    order = [Verdict.DENY, Verdict.ASK, Verdict.ALLOW]
    assert order.index(found) <= order.index(verdict(allow=allow, ask=ask))
    assert order.index(found) <= order.index(verdict(allow=allow, deny=deny))
    assert order.index(found) >= order.index(verdict(ask=ask, deny=deny))


@quick
@given(
    allow=some_rules,
    mode=st.sampled_from(Mode),
    kind=st.sampled_from([AccessKind.READ, AccessKind.EDIT]),
    path=some_paths,
)
def test_no_path_outside_is_ever_allowed_without_a_rule_that_names_it(
    root: Path, allow: tuple[Rule, ...], mode: Mode, kind: AccessKind, path: str
) -> None:
    # None of the patterns here is absolute, so none of them names anything outside.
    permissions = Permissions(Workspace(root), mode=mode, rules=Rules(allow))
    decision = permissions.decide(f"{kind}_file", access(root, kind, path))
    if decision.verdict is Verdict.ALLOW:
        real = real_by_hand(root / path)
        assert real is None or real.is_relative_to(root.resolve())


def real_by_hand(path: Path) -> Path | None:
    """Where the kernel would end up: step by step, reading one link at a time. None: it gives up."""
    todo, here = list(path.parts[1:]), Path("/")
    for _ in range(400):
        if not todo:
            return here
        part = todo.pop(0)
        if part == "..":
            here = here.parent
        elif part != ".":
            step = here / part
            if step.is_symlink():
                target = Path(os.readlink(step))  # noqa: PTH115
                here = Path("/") if target.is_absolute() else here
                todo = [*(part for part in target.parts if part != "/"), *todo]
            else:
                here = step
    return None


@quick
@given(rule=some_rules.filter(bool), kind=st.sampled_from(list(AccessKind)[:3]), path=some_paths)
def test_what_a_rule_allows_it_would_also_forbid(
    root: Path, rule: tuple[Rule, ...], kind: AccessKind, path: str
) -> None:
    from core.permissions.policy import _subject

    subject: Subject = _subject(f"{kind}_file", access(root, kind, path), Workspace(root))
    if allows(rule, subject):
        assert any(forbids(one, subject) for one in rule)


@quick
@given(
    texts=st.lists(
        st.text(st.sampled_from("*?[]!{}()/.~$-:@%\\\"'\0\n a=h"), max_size=12), min_size=4, max_size=4
    ),
    kind=st.sampled_from(AccessKind),
    mode=st.sampled_from(Mode),
    prefix=st.sampled_from(["", "http://", "/", "~"]),
)
def test_nothing_that_a_model_or_a_person_writes_makes_it_raise(
    root: Path, texts: list[str], kind: AccessKind, mode: Mode, prefix: str
) -> None:
    subject, *patterns = (prefix + text for text in texts)
    allow, ask, deny = ((Rule("*", pattern),) for pattern in patterns)
    permissions = Permissions(Workspace(root), mode=mode, rules=Rules(allow, ask, deny))
    paths = () if kind is AccessKind.NETWORK else (root / subject,)
    decision = permissions.decide(f"{kind}_file", Access(kind, subject, paths))
    if decision.offered is not None:
        permissions.remember(decision.offered, always=False)
        assert permissions.decide(f"{kind}_file", Access(kind, subject, paths)).verdict is Verdict.ALLOW
