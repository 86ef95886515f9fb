"""What may run: modes, rules and what always asks, over real folders and real links."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.permissions.access import Access, AccessKind, Workspace
from core.permissions.policy import Decision, Mode, Permissions, Rule, Rules, Verdict
from core.tools.files import ReadFileArguments

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY

TOOLS = {
    AccessKind.READ: "read_file",
    AccessKind.EDIT: "edit_file",
    AccessKind.COMMAND: "shell",
    AccessKind.NETWORK: "web_fetch",
    AccessKind.SERVER: "mcp__docs__lookup",
    AccessKind.AGENT: "agent",
}


def test_a_path_is_made_without_a_name_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(name: object) -> None:
        raise AssertionError(f"{name} was looked up")

    monkeypatch.setattr(pwd, "getpwnam", look_up)
    monkeypatch.setattr(pwd, "getpwuid", look_up)
    workspace = Workspace(tmp_path)
    assert workspace.path("~") == Path(os.environ["HOME"])
    assert workspace.path("~/a") == Path(os.environ["HOME"], "a")
    assert workspace.path("~root/a") == tmp_path / "~root/a"
    with pytest.raises(ValidationError, match="~root is not looked up"):
        ReadFileArguments(path="~root/a")


def test_a_rule_that_denies_finds_its_command_behind_thousands_of_others(workspace: Workspace) -> None:
    permissions = Permissions(workspace, mode=Mode.AUTO, rules=Rules(deny=(Rule("shell", "foo bar *"),)))
    for line in ("env " * 5_000 + "foo bar baz", "x; " * 5_000 + "foo bar baz"):
        assert permissions.decide("shell", Access(AccessKind.COMMAND, line)).verdict is DENY


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("a")
    (root / ".git" / "hooks").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("b")
    (root / "way_out").symlink_to(outside)
    (root / "file_out").symlink_to(outside / "b.txt")
    (root / "new_out").symlink_to(outside / "not_yet")
    (root / "inner").symlink_to("src")
    (root / "circle").symlink_to("circle")
    return Workspace(root)


def rules(*texts: str) -> tuple[Rule, ...]:
    return tuple(Rule.parse(text) for text in texts)


def decide(
    workspace: Workspace,
    kind: AccessKind,
    subject: str,
    *,
    mode: Mode = Mode.ASK,
    allow: tuple[str, ...] = (),
    ask: tuple[str, ...] = (),
    deny: tuple[str, ...] = (),
    folder: str = ".",
    tool: str = "",
) -> Decision:
    permissions = Permissions(workspace, mode=mode, rules=Rules(rules(*allow), rules(*ask), rules(*deny)))
    paths: tuple[Path, ...] = ()
    if kind in {AccessKind.READ, AccessKind.EDIT}:
        paths = (workspace.path(subject),)
    elif kind is AccessKind.COMMAND:
        paths = (workspace.path(folder),)
    return permissions.decide(tool or TOOLS[kind], Access(kind, subject, paths))


ADDRESS = "https://docs.python.org/3/"
EVERYDAY = {
    AccessKind.READ: "src/a.py",
    AccessKind.EDIT: "src/a.py",
    AccessKind.COMMAND: "make test",
    AccessKind.NETWORK: ADDRESS,
    AccessKind.SERVER: "{}",
    AccessKind.AGENT: "look around",
}


@pytest.mark.parametrize(
    ("mode", "verdicts"),
    [  # in the order of AccessKind: read, edit, command, network, server, agent
        (Mode.ASK, [ALLOW, ASK, ASK, ASK, ASK, ALLOW]),
        (Mode.EDITS, [ALLOW, ALLOW, ASK, ASK, ASK, ALLOW]),
        (Mode.PLAN, [ALLOW, DENY, DENY, ASK, DENY, ALLOW]),
        (Mode.AUTO, [ALLOW, ALLOW, ALLOW, ALLOW, ALLOW, ALLOW]),
    ],
)
def test_each_mode_decides_each_kind(workspace: Workspace, mode: Mode, verdicts: list[Verdict]) -> None:
    assert [decide(workspace, kind, EVERYDAY[kind], mode=mode).verdict for kind in AccessKind] == verdicts


def test_shift_tab_goes_around_the_modes() -> None:
    assert [mode.next for mode in Mode] == [Mode.EDITS, Mode.PLAN, Mode.AUTO, Mode.ASK]


def test_plan_says_to_the_model_what_to_do_and_outranks_what_is_allowed(workspace: Workspace) -> None:
    said = decide(workspace, AccessKind.EDIT, "src/a.py", mode=Mode.PLAN, allow=("edit_file",))
    assert said.verdict is DENY
    assert "plan mode: nothing may change" in said.why
    assert decide(workspace, AccessKind.COMMAND, "git status", mode=Mode.PLAN).verdict is ASK
    looked = decide(
        workspace, AccessKind.COMMAND, "git status", mode=Mode.PLAN, allow=("shell(git status *)",)
    )
    assert looked.verdict is ALLOW


OUTSIDE = [
    "../outside/b.txt",
    "/etc/hosts",
    "~/notes.txt",
    "way_out/b.txt",
    "way_out/not_yet/deep.txt",
    "file_out",
    "new_out",
    "src/../way_out/b.txt",
    "way_out/../project/../outside/b.txt",
    "inner/../../outside/b.txt",
    "circle",
    "circle/x",
    "/proc/self/cwd/x",
    "/proc/self/root/etc/hosts",
    "//proc/self/fd/0",
    "/proc/1/root/x",
    "a\0b",
    "x" * 5000 + "/../../../../etc/hosts",
]


@pytest.mark.parametrize("given", OUTSIDE)
@pytest.mark.parametrize("mode", [Mode.ASK, Mode.EDITS, Mode.AUTO])
@pytest.mark.parametrize("kind", [AccessKind.READ, AccessKind.EDIT])
def test_what_is_outside_asks_in_every_mode(
    workspace: Workspace, kind: AccessKind, mode: Mode, given: str
) -> None:
    broad = ("*(*)", "*(**)", "*(**/*)", "*(src/**)")
    assert decide(workspace, kind, given, mode=mode, allow=broad).verdict is ASK


def test_another_process_has_another_proc(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    for given in ("/proc/self/cwd/src/a.py", f"/proc/{os.getpid()}/cwd/src/a.py"):
        assert decide(workspace, AccessKind.READ, given, mode=Mode.AUTO).verdict is ASK


@pytest.mark.parametrize("given", ["src/a.py", "./src/../src/a.py", "inner/a.py", "inner/new/deep.py", "src"])
def test_what_is_inside_after_all_does_not(workspace: Workspace, given: str) -> None:
    assert decide(workspace, AccessKind.EDIT, given, mode=Mode.EDITS).verdict is ALLOW


def test_a_workspace_behind_a_link_is_the_same_workspace(workspace: Workspace, tmp_path: Path) -> None:
    link = tmp_path / "shortcut"
    link.symlink_to(workspace.root)
    for root, named in [(link, workspace.root), (workspace.root, link)]:
        said = decide(Workspace(root), AccessKind.EDIT, str(named / "src" / "new.py"), mode=Mode.EDITS)
        assert said.verdict is ALLOW


def test_a_rule_that_names_the_place_outside_allows_it_by_its_real_path(workspace: Workspace) -> None:
    outside = workspace.root.parent / "outside"
    for given in ("../outside/b.txt", "way_out/b.txt", "file_out"):
        assert decide(workspace, AccessKind.READ, given, allow=(f"read_file({outside}/*)",)).verdict is ALLOW
        assert decide(workspace, AccessKind.READ, given, allow=("read_file(way_out/*)",)).verdict is ASK
        assert decide(workspace, AccessKind.EDIT, given, allow=(f"read_file({outside}/*)",)).verdict is ASK


@pytest.mark.parametrize(
    "pattern", ["b.txt", "*.txt", "way_out/**", "~/../**", "{outside}/*", "{outside}/**"]
)
def test_a_rule_that_denies_knows_the_given_and_the_real_path(workspace: Workspace, pattern: str) -> None:
    outside = workspace.root.parent / "outside"
    home = Path.home()
    deny = f"read_file({pattern.format(outside=outside).replace('~/..', str(home.parent.parent))})"
    said = decide(workspace, AccessKind.READ, "way_out/b.txt", mode=Mode.AUTO, allow=("*",), deny=(deny,))
    assert said.verdict is DENY
    assert deny in said.why


def test_a_rule_that_denies_a_folder_behind_a_link_denies_the_folder(workspace: Workspace) -> None:
    link = workspace.root.parent / "link"
    link.symlink_to(workspace.root.parent / "outside")
    said = decide(workspace, AccessKind.READ, "../outside/b.txt", deny=(f"read_file({link}/**)",))
    assert said.verdict is DENY


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("src/*", "src/a.py", True),
        ("src/*", "src/deep/a.py", False),
        ("src/**", "src/deep/a.py", True),
        ("src/**", "src", True),
        ("src/**/a.py", "src/a.py", True),
        ("src/**/a.py", "src/x/y/a.py", True),
        ("src/**/a.py", "src/xa.py", False),
        ("**/a.py", "a.py", True),
        ("./a.py", "a.py", True),
        ("./a.py", "src/a.py", False),
        ("*.py", "src/a.py", True),
        ("src/[ab].py", "src/a.py", True),
        ("src/[!ab].py", "src/a.py", False),
        ("src/[*].py", "src/*.py", True),
        ("src/[*].py", "src/a.py", False),
        ("src/?.py", "src/a.py", True),
        ("src?a.py", "src/a.py", False),
        ("./src[!x]a.py", "src/a.py", False),
        ("src/[z-a].py", "src/[z-a].py", True),
        ("src/[!].py", "src/b.py", False),
        ("*", "src/deep/a.py", True),
    ],
)
def test_path_patterns(workspace: Workspace, pattern: str, path: str, matches: bool) -> None:
    verdict = decide(workspace, AccessKind.EDIT, path, allow=(f"edit_file({pattern})",)).verdict
    assert verdict is (ALLOW if matches else ASK)


SECRETS = [
    ".env",
    "src/.env.local",
    "keys/server.pem",
    "id_ed25519",
    ".ssh/config",
    "conf/credentials.json",
    ".ENV",
]
HARMLESS = [".env.example", "id_rsa.pub", "src/environment.py", "keyboard.py"]


@pytest.mark.parametrize("given", SECRETS)
def test_secrets_ask_unless_a_rule_names_them(workspace: Workspace, given: str) -> None:
    for mode in (Mode.ASK, Mode.AUTO, Mode.PLAN):
        said = decide(workspace, AccessKind.READ, given, mode=mode, allow=("read_file", "read_file(**/*)"))
        assert said.verdict is ASK
        assert "secrets" in said.why
    named = decide(workspace, AccessKind.READ, given, allow=(f"read_file(./{given})",))
    assert named.verdict is ALLOW


@pytest.mark.parametrize("given", HARMLESS)
def test_what_only_looks_like_a_secret_does_not_ask(workspace: Workspace, given: str) -> None:
    assert decide(workspace, AccessKind.READ, given).verdict is ALLOW


@pytest.mark.parametrize(
    "given",
    [".git/hooks/pre-commit", ".git/config", ".caesura.toml", ".bashrc", ".envrc", ".vscode/tasks.json"],
)
def test_edits_of_what_decides_what_runs_later_ask(workspace: Workspace, given: str) -> None:
    for mode in (Mode.EDITS, Mode.AUTO):
        said = decide(workspace, AccessKind.EDIT, given, mode=mode, allow=("edit_file(**)",))
        assert said.verdict is ASK
    assert decide(workspace, AccessKind.EDIT, given, allow=(f"edit_file({given})",)).verdict is ALLOW


def test_edits_of_caesuras_own_settings_ask_also_in_a_workspace_around_them(own_home: Path) -> None:
    said = decide(Workspace(own_home), AccessKind.EDIT, "config/caesura/permissions.toml", mode=Mode.AUTO)
    assert said.verdict is ASK


def test_deny_goes_before_ask_and_ask_before_allow(workspace: Workspace) -> None:
    every = ("edit_file",)
    denied = decide(workspace, AccessKind.EDIT, "src/a.py", allow=every, ask=every, deny=every)
    assert denied.verdict is DENY
    asked = decide(workspace, AccessKind.EDIT, "src/a.py", mode=Mode.AUTO, allow=every, ask=every)
    assert asked.verdict is ASK
    assert asked.offered is None  # it would change nothing
    assert decide(workspace, AccessKind.EDIT, "src/a.py", allow=every).verdict is ALLOW


def test_tools_of_servers_are_named_by_globs(workspace: Workspace) -> None:
    allow = ("mcp__docs__*",)
    assert decide(workspace, AccessKind.SERVER, "{}", allow=allow).verdict is ALLOW
    other = decide(workspace, AccessKind.SERVER, "{}", allow=allow, tool="mcp__files__write")
    assert other.verdict is ASK
    assert other.offered == Rule("mcp__files__write", "*")


@pytest.mark.parametrize(
    ("pattern", "url", "matches"),
    [
        ("https://docs.python.org/*", "https://docs.python.org/3/?q=1#x", True),
        ("https://docs.python.org/*", "https://docs.python.org", True),
        ("https://docs.python.org/*", "https://DOCS.python.org./3", True),
        ("https://docs.python.org/*", "http://docs.python.org/", False),
        ("docs.python.org", "http://docs.python.org/3/", True),
        ("https://docs.python.org/*", "https://docs.python.org@evil.example/", False),
        ("https://docs.python.org/*", "https://evil.example/https://docs.python.org/", False),
        ("https://docs.python.org/*", "https://docs.python.org.evil.example/", False),
        ("https://docs.python.org/*", "https://evil.example\\@docs.python.org/", False),
        ("https://docs.python.org/*", "https://docs.python.org:8443/", False),
        ("https://*.python.org/*", "https://evil.example/x.python.org/", False),
        ("https://*.python.org/3/*", "https://docs.python.org/3/library", True),
        ("https://*.python.org/3/*", "https://docs.python.org/3/../2/", False),
        ("https://*.python.org/3/*", "https://docs.python.org/3/%2e%2E/2/", False),
        ("*", "https://docs.python.org/", True),
        ("*", "http://localhost:8000/", False),
        ("*", "http://169.254.169.254/latest/", False),
        ("http://localhost:8000/*", "http://localhost:8000/x", True),
    ],
)
def test_address_patterns(workspace: Workspace, pattern: str, url: str, matches: bool) -> None:
    verdict = decide(workspace, AccessKind.NETWORK, url, allow=(f"web_fetch({pattern})",)).verdict
    assert verdict is (ALLOW if matches else ASK)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://127.1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://10.0.0.3/",
        "http://nas.local/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "nonsense",
        "http://a b/",
    ],
)
def test_addresses_of_ones_own_network_ask_in_auto(workspace: Workspace, url: str) -> None:
    assert decide(workspace, AccessKind.NETWORK, url, mode=Mode.AUTO).verdict is ASK


@pytest.mark.parametrize(
    ("kind", "subject", "offered"),
    [
        (AccessKind.EDIT, "src/a.py", "edit_file(src/**)"),
        (AccessKind.EDIT, "README.md", "edit_file(./README.md)"),
        (AccessKind.EDIT, ".git/config", "edit_file(.git/config)"),
        (AccessKind.EDIT, "/etc/hosts", "edit_file(/etc/hosts)"),
        (AccessKind.READ, "/etc/hosts", "read_file(/etc/hosts)"),
        (AccessKind.READ, "/etc", "read_file(/etc/**)"),
        (AccessKind.READ, ".env", "read_file(./.env)"),
        (AccessKind.READ, "circle", None),
        (AccessKind.NETWORK, ADDRESS, "web_fetch(https://docs.python.org/*)"),
        (AccessKind.NETWORK, "http://localhost:8000/x", "web_fetch(http://localhost:8000/*)"),
        (AccessKind.NETWORK, "nonsense", None),
    ],
)
def test_what_is_offered_allows_the_next_one(
    workspace: Workspace, kind: AccessKind, subject: str, offered: str | None
) -> None:
    said = decide(workspace, kind, subject)
    assert (said.verdict, said.offered and str(said.offered)) == (ASK, offered)
    if offered is not None:
        assert decide(workspace, kind, subject, allow=(offered,)).verdict is ALLOW


def test_remembered_rules_count_at_once_and_are_kept_only_with_always(workspace: Workspace) -> None:
    kept: list[Rule] = []
    permissions = Permissions(workspace, keep=kept.append)
    access = Access(AccessKind.NETWORK, ADDRESS)
    first, second = (
        Rule("web_fetch", "https://docs.python.org/*"),
        Rule("web_fetch", "https://peps.python.org/*"),
    )
    permissions.remember(first, always=False)
    assert permissions.decide("web_fetch", access).verdict is ALLOW
    assert kept == []
    permissions.remember(second, always=True)
    assert kept == [second]


def test_a_rule_that_cannot_be_kept_counts_for_the_session(workspace: Workspace) -> None:
    def full(rule: Rule) -> None:
        raise OSError(28, os.strerror(28))

    permissions = Permissions(workspace, keep=full)
    rule = Rule("web_fetch", "https://docs.python.org/*")
    with pytest.raises(OSError, match="space"):
        permissions.remember(rule, always=True)
    assert permissions.decide("web_fetch", Access(AccessKind.NETWORK, ADDRESS)).verdict is ALLOW
