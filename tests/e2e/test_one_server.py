"""A whole conversation goes to the server of the settings, and nothing to anybody else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from core.model.server_options import Reader
from tests.e2e import one_server
from tests.support.own_network import in_own_network, why_no_network
from tests.support.program import ROOT, program_after

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION_LOG = ROOT / "tests" / "support" / "connection_log.py"


@pytest.mark.promise("P9")
def test_in_a_network_of_its_own_nothing_goes_elsewhere(tmp_path: Path) -> None:
    if why := why_no_network():
        pytest.skip(f"no network namespace can be had here: {why}")
    tested = subprocess.run(
        in_own_network(
            *(sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider"),
            f"--basetemp={tmp_path / 'inner'}",
            one_server.__file__,
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert f"{1 + len(one_server.CASES)} passed" in tested.stdout


@pytest.mark.promise("P9")
def test_its_python_processes_connect_to_nobody_else(tmp_path: Path) -> None:
    """Also where no network of its own can be had."""
    told = tmp_path / "told"
    plant = f"import runpy; runpy.run_path({str(CONNECTION_LOG)!r}); "
    in_children = f"import providers.client.spawn as spawn; spawn.CODE = {plant!r} + spawn.CODE"
    program = program_after(plant + in_children)
    port = one_server.converse(
        tmp_path, "openai", Reader.LITELLM, program, CAESURA_TEST_CONNECTIONS=str(told)
    )
    lines = set(told.read_text().splitlines())
    assert lines == {f"socket.connect ('127.0.0.1', {port})"}
