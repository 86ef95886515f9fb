"""The colors of the transcript, one for each `Part`; all of them come from the theme."""

from __future__ import annotations

from tui.transcript.markdown.spans import Part

COMPONENT_CLASSES = {f"transcript--{part}" for part in Part} | {"transcript--new-lines"}
CSS = """
Transcript {
    overflow-x: hidden;
    overflow-y: scroll;
    scrollbar-size-vertical: 1;
    background: $background;
    color: $foreground;
    & .transcript--prompt { color: $foreground; text-style: bold; background: $surface; }
    & .transcript--prompt-mark { color: $text-accent; text-style: bold; background: $surface; }
    & .transcript--reasoning { color: $foreground-muted; text-style: italic; }
    & .transcript--title { color: $primary; text-style: bold underline; }
    & .transcript--heading { color: $primary; text-style: bold; }
    & .transcript--mark { color: $text-accent; }
    & .transcript--quote { color: $secondary; }
    & .transcript--rule { color: $foreground 55%; }
    & .transcript--link { color: $primary; text-style: underline; }
    & .transcript--inline-code { color: $text-accent; background: $surface; }
    & .transcript--code { color: $foreground; background: $surface; }
    & .transcript--code-comment { color: $foreground-muted; background: $surface; text-style: italic; }
    & .transcript--code-keyword { color: $text-accent; background: $surface; }
    & .transcript--code-string { color: $text-success; background: $surface; }
    & .transcript--code-number { color: $text-warning; background: $surface; }
    & .transcript--code-name { color: $text-primary; background: $surface; }
    & .transcript--code-type { color: $text-secondary; background: $surface; }
    & .transcript--code-inserted { color: $text-success; background: $surface; }
    & .transcript--code-deleted { color: $text-error; background: $surface; }
    & .transcript--info { color: $foreground 70%; }
    & .transcript--stopped { color: $text-warning; }
    & .transcript--error { color: $text-error; }
    & .transcript--tool { color: $foreground; text-style: bold; }
    & .transcript--running { color: $text-primary; }
    & .transcript--completed { color: $text-success; }
    & .transcript--denied { color: $text-accent; }
    & .transcript--new-lines { text-style: bold reverse; }
}
"""
