"""What `/status` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.model.messages import FinishReason
from core.model.provider import Effort, Finished, ModelChoice, ModelInfo, Parameters
from core.operations.events import Status
from core.process.containment import Containment
from tui.commands.status_report import status_report

if TYPE_CHECKING:
    from tests.tui.stage import Stage


async def test_it_tells_what_is(stage: Stage) -> None:
    session = stage.session
    await stage.ask("hello")
    stage.model.give(Finished(FinishReason.STOP, None, "groq/a"))
    await stage.until(lambda: stage.does(Status.IDLE))
    session.model.use(ModelChoice("fast", "http://localhost:1/v1", None, Parameters(effort=Effort.HIGH)))
    session.record.info = ModelInfo("fast", 128_000, members=(ModelInfo("groq/a"), ModelInfo("openai/b")))
    session.settings.notes_files = ("/work/AGENTS.md", "/work/core/AGENTS.md")
    config = "/home/ada/config.toml\n/work/.caesura.toml"
    addresses = ("http://localhost:1/v1", "http://[::1]:8080/v1 ([providers.local] api_base)")
    lines = status_report(session, config, Containment.NAMESPACE, addresses).splitlines()
    named = {line[:13].strip(): line[15:] for line in lines if line[:13].strip()}
    assert named["Version"].startswith("Caesura")
    assert named["Model"] == "fast"
    assert named["Behind it"] == "groq/a, openai/b"
    assert named["Answered last"] == "groq/a"
    assert named["Effort"] == "high"
    assert named["Address"] == "http://localhost:1/v1"
    assert named["Mode"] == "ask"
    assert named["Limits"] == "none"
    assert named["Session"] == f"{session.session_id} ‘hello’"
    assert named["Context"] == "of 128k tokens, nothing counted yet"
    assert named["Notes read"] == "/work/AGENTS.md"
    assert named["Settings"] == "/home/ada/config.toml"
    assert "PID namespace" in named["Containment"]
    assert named["MCP"]
    assert " " * 15 + addresses[1] in lines
    assert " " * 15 + "/work/core/AGENTS.md" in lines
    assert " " * 15 + "/work/.caesura.toml" in lines


async def test_without_notes_it_says_how_to_get_them(stage: Stage) -> None:
    report = status_report(stage.session, "", Containment.GROUP, ())
    assert "/init has the model write AGENTS.md" in report
    assert "Settings" not in report
