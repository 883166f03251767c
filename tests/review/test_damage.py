"""Whatever stands in a run folder's files, a report is written, and no number in it comes from damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from review.evidence import read_evidence
from review.report import render
from tests.review.pages import Page
from tests.review.run_folders import one_shot, sequential, write_run

ANYWHERE = (None, "text", float("nan"), float("-inf"), -1, 0, True, [], {}, [[1]], {"value": "x"})
FOR_NUMBERS = (*ANYWHERE, 10**400, 1e300, -1e300)


def damaged(content: Any, rng: np.random.Generator, share: float) -> Any:
    """The same content with a share of its parts replaced by what does not belong there."""
    if rng.random() < share:
        choices = FOR_NUMBERS if isinstance(content, int | float) else ANYWHERE
        return choices[int(rng.integers(len(choices)))]
    if isinstance(content, dict):
        return {key: damaged(value, rng, share) for key, value in content.items() if rng.random() > share / 2}
    if isinstance(content, list):
        return [damaged(value, rng, share) for value in content]
    return content


@pytest.mark.parametrize("seed", range(9))
def test_a_damaged_run_folder_still_gives_a_whole_page(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = sequential() if seed % 3 else one_shot()
    share = (0.01, 0.03, 0.1, 0.3)[seed % 4]
    parts = {name: damaged(content, rng, share / 10) for name, content in whole.items()}
    parts = {
        name: {k: damaged(v, rng, share) for k, v in c.items()} for name, c in parts.items() if isinstance(c, dict)
    }
    page = Page(render(read_evidence(write_run(tmp_path, parts))))
    assert page.unbalanced == []
    assert page.text.startswith("Campaign report")
    assert "1000000000000" not in page.text.replace(",", "")
    assert " nan" not in page.text.lower()
