"""Twins have a known truth, and what they say of estimators is what theory says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from campaigns.errors import CampaignError
from evaluation.estimators import LoggedDecisions
from evaluation.twins import TwinLaw, score_on_twins, twin_law, twins_report
from tests.evaluation.bandit_worlds import bandit_world


def world_law(rows: int = 1500, noisy: bool = False) -> tuple[TwinLaw, dict[str, np.ndarray]]:
    """The bandit itself as the law, and a panel of six policies."""
    world = bandit_world()
    _, context = world.log(rows, np.random.default_rng(0))
    generator = np.random.default_rng(1)
    panel = {f"p{i}": generator.dirichlet(np.ones(4), 8)[context] for i in range(5)} | {"own": world.logging[context]}
    drawn = generator.normal(0, 0.5, (4, 400))
    noise = tuple(drawn - drawn.mean(axis=1, keepdims=True)) if noisy else None
    return TwinLaw(world.mean[context], world.logging[context], noise), panel


@pytest.mark.parametrize("noisy", [False, True], ids=["0 or 1", "with residuals"])
def test_unbiased_estimators_cover_and_rank_and_a_wrong_model_does_not(noisy: bool) -> None:
    law, panel = world_law(noisy=noisy)
    wrong = 0.5 - law.mean  # the best decision looks worst
    scores = score_on_twins(law, panel, wrong, twins=80)
    for name in ("IPS", "SNIPS", "DR", "SNDR"):
        assert 0.92 < scores[name].coverage < 0.98, name
        assert scores[name].bias < 0.004, name
        assert scores[name].rank_correlation > 0.6, name
        assert scores[name].right, name
    assert scores["DM"].coverage == 0
    assert scores["DM"].bias > 0.1
    assert not scores["DM"].right
    assert scores["DM"].rank_correlation < 0


def test_with_the_right_model_the_direct_method_is_exact_and_dr_beats_ips() -> None:
    law, panel = world_law()
    scores = score_on_twins(law, panel, law.mean, twins=60)
    assert scores["DM"].bias < 0.002
    assert scores["DM"].rank_correlation > 0.95
    assert scores["DR"].error < 0.8 * scores["IPS"].error
    assert scores["DR"].regret_at_3 <= scores["DR"].regret_at_1


def test_a_policy_that_the_log_cannot_judge_is_refused_on_its_twins() -> None:
    law, _ = world_law()
    logging = np.tile([0.997, 0.001, 0.001, 0.001], (len(law.mean), 1))
    far = {"far": np.tile([0.0, 1.0, 0.0, 0.0], (len(law.mean), 1)), "near": logging}
    scores = score_on_twins(replace(law, logging=logging), far, law.mean, twins=20)
    assert scores["IPS"].refused == 0.5
    assert scores["DM"].refused == 0


def test_the_law_keeps_logged_probabilities_and_finds_mean_rewards() -> None:
    world = bandit_world()
    log, context = world.log(30_000, np.random.default_rng(2))
    law = twin_law(log, np.eye(8)[context], world.logging[context])
    rows = np.arange(len(log))
    np.testing.assert_allclose(law.logging, world.logging[context], rtol=1e-9)
    np.testing.assert_allclose(law.logging[rows, log.action], log.logged_prob)
    assert law.residuals is None
    assert np.abs(law.mean - world.mean[context]).mean() < 0.03
    # A fitted policy that says nothing leaves the logged probability and shares out the rest evenly.
    flat = twin_law(log, np.eye(8)[context], np.full((len(log), 4), 0.25)).logging
    np.testing.assert_allclose(flat.sum(axis=1), 1)
    np.testing.assert_allclose(flat[rows, log.action], log.logged_prob)


def test_skewed_rewards_keep_their_noise() -> None:
    generator = np.random.default_rng(3)
    action = generator.integers(0, 2, 5000)
    spent = np.where(generator.random(5000) < 0.05, generator.exponential(100, 5000), 0.0) * (1 + action)
    log = LoggedDecisions(np.arange(5000), action, spent, np.full(5000, 0.5))
    law = twin_law(log, np.zeros((5000, 1)), np.full((5000, 2), 0.5))
    assert law.residuals is not None
    for decision in (0, 1):
        mine = spent[action == decision]
        assert law.mean[:, decision].mean() == pytest.approx(mine.mean(), rel=0.01)
        assert law.residuals[decision].std() == pytest.approx(mine.std(), rel=0.01)
        assert law.residuals[decision].mean() == pytest.approx(0, abs=1e-9)


def test_twins_do_not_depend_on_the_chunks_in_which_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    law, panel = world_law(400)
    whole = score_on_twins(law, panel, law.mean, twins=12)
    monkeypatch.setattr("evaluation.twins.CELLS", 4 * 400 * 5)
    assert score_on_twins(law, panel, law.mean, twins=12)["DR"] == whole["DR"]


def test_the_report_is_json_able_and_names_who_was_right() -> None:
    law, panel = world_law()
    report = twins_report(score_on_twins(law, panel, 0.5 - law.mean, twins=20), 20, 1500, len(panel))
    assert json.loads(json.dumps(report))["twins"] == 20
    assert "DM" not in report["right"]
    assert "DR" in report["sentence"]
    with pytest.raises(CampaignError, match="two policies"):
        score_on_twins(law, {"own": law.logging}, law.mean)
