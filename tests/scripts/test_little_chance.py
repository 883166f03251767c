"""Where chance decided hardly anything in a log, a small blend is recommended at most, and the reason is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scripts.pipeline.summary import _choice, _hold_back, choose

BEST = _choice("ppo", True, "ppo earned most.")


def test_a_small_blend_that_the_log_bears_out_is_named_and_no_more_is_recommended() -> None:
    found = _hold_back(BEST, {"blend": 0.1}, by_chance=0.042)
    assert (found["chosen"], found["recommended"]) == ("ppo", False)
    assert "chance decided only 4.2% of the log's sends" in found["reason"]
    assert "a blend of 10% with what was done: begin with no more" in found["reason"]


@pytest.mark.parametrize("log", [None, {"blend": 0.0}, {"blend": None}])
def test_without_a_blend_that_the_log_bears_out_nothing_is_recommended(log: dict[str, Any] | None) -> None:
    found = _hold_back(BEST, log, by_chance=0.042)
    assert found["recommended"] is False
    assert "Nor does the log alone bear out even a small blend" in found["reason"]


def test_what_was_not_recommended_keeps_its_reason() -> None:
    nothing = _choice("incumbent", False, "Nothing beat the incumbent in the judging world.")
    assert _hold_back(nothing, None, by_chance=0.042) == nothing


@pytest.mark.parametrize(("by_chance", "said"), [(0.042, True), (0.98, False), (None, False)])
def test_a_refused_market_says_where_chance_decided_hardly_anything(by_chance: float | None, said: bool) -> None:
    study: Any = SimpleNamespace(
        is_one_shot=False, log=SimpleNamespace(report={"audit": {"randomisation": {"by_chance": by_chance}}})
    )
    found = choose(study, {}, {}, refused=True)
    assert found["recommended"] is False
    assert ("chance decided only 4.2% of the log's sends" in found["reason"]) is said
