"""Which policy a run recommends, and that its reason does not contradict itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scripts.pipeline.summary import choose


def estimate(value: float | None, verdict: str, **against: str) -> dict[str, Any]:
    """A policy's offline entry, and its verdicts against others."""
    return {"value": value, "verdict": verdict, "against": {name: {"verdict": word} for name, word in against.items()}}


def chosen(**policies: dict[str, Any]) -> dict[str, Any]:
    """The choice on a one-shot log."""
    return choose(SimpleNamespace(is_one_shot=True), {}, {"policies": policies}, refused=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("worse", "No policy is better than what was done: even a, with the highest estimate, earns less."),
        ("cannot tell", "a has the highest estimate, but it cannot be told from what was done."),
        ("not identifiable", "a has the highest estimate, but it is not identifiable."),
    ],
)
def test_without_a_better_policy_the_reason_says_what_the_log_says(verdict: str, reason: str) -> None:
    found = chosen(a=estimate(2.0, verdict), b=estimate(1.0, "worse"))
    assert found == {"chosen": "incumbent", "recommended": False, "reason": reason}


def test_the_best_is_recommended_and_those_that_it_cannot_be_told_from_are_named() -> None:
    found = chosen(
        a=estimate(2.0, "better", b="cannot tell", c="cannot tell", d="better"),
        b=estimate(1.9, "better"), c=estimate(None, "cannot tell"), d=estimate(1.0, "worse"),
    )  # fmt: skip
    assert found["chosen"] == "a"
    assert found["recommended"] is True
    assert found["reason"].endswith("It cannot be told from b.")  # of c nothing is known
