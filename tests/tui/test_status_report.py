"""What `/status` says."""

from __future__ import annotations

from dataclasses import replace

from core.containment import Containment
from core.model import Effort, ModelChoice, ModelInfo, Parameters
from tests.tui.scripted import staged
from tui.status_report import facts_of, status_report


async def test_it_tells_what_is() -> None:
    async with staged() as stage:
        session = stage.session
        session.use_model(ModelChoice("fast", "http://localhost:1/v1", None, Parameters(effort=Effort.HIGH)))
        session.record.info = ModelInfo("fast", 128_000, members=(ModelInfo("groq/a"), ModelInfo("openai/b")))
        session.notes_files = ("/work/AGENTS.md", "/work/core/AGENTS.md")
        facts = facts_of(session, "/home/ada/config.toml\n/work/.caesura.toml", Containment.NAMESPACE)
        lines = status_report(replace(facts, answered="groq/a", folder="/work")).splitlines()
        named = {line[:13].strip(): line[15:] for line in lines if line[:13].strip()}
        assert named["Version"].startswith("Caesura")
        assert named["Model"] == "fast"
        assert named["Behind it"] == "groq/a, openai/b"
        assert named["Answered last"] == "groq/a"
        assert named["Effort"] == "high"
        assert named["Address"] == "http://localhost:1/v1"
        assert named["Mode"] == "ask"
        assert named["Limits"] == "none"
        assert named["Session"] == session.session_id
        assert named["Context"] == "of 128k tokens, nothing counted yet"
        assert named["Notes read"] == "/work/AGENTS.md"
        assert named["Settings"] == "/home/ada/config.toml"
        assert "PID namespace" in named["Containment"]
        assert named["MCP"]
        assert " " * 15 + "/work/core/AGENTS.md" in lines
        assert " " * 15 + "/work/.caesura.toml" in lines


async def test_without_notes_it_says_how_to_get_them() -> None:
    async with staged() as stage:
        facts = facts_of(stage.session, "", Containment.GROUP)
        assert "/init has the model write AGENTS.md" in status_report(facts)
        assert "Settings" not in status_report(facts)
