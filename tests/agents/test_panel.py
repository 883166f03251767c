"""The panel's table: what is named there can be configured, and costs nothing to read."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from agents.panel import AGENTS, PANEL
from conf.schema import AgentConfig

CONF = Path(__file__).resolve().parents[2] / "conf" / "agent"


def test_every_agent_has_its_settings_in_the_schema() -> None:
    types = {f.name: f.default_factory for f in fields(AgentConfig) if f.name != "names"}
    assert types == {name: agent.settings for name, agent in PANEL.items() if agent.settings is not None}


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_can_be_asked_for_alone(name: str) -> None:
    assert f"names: [{name}]" in (CONF / f"{name}.yaml").read_text(encoding="utf-8")


def test_the_table_is_read_without_loading_a_learner() -> None:
    code = "import sys, agents.panel; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
