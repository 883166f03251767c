"""Policies of weekly plans: a plan stands for its week, in replays and sessions, and survives saving."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from campaigns.features import CANDIDATE_FEATURES
from campaigns.guardrails import Guardrails
from campaigns.plan_features import PLAN_FEATURES
from campaigns.plans import PlanMenu
from policies.actor import ActorSpec
from policies.chooser import carrying, rows_of
from policies.following import Follower, following
from policies.plan_actor import PlanActor, PlanActorChooser
from policies.plan_linear import PlanLinearChooser, block_sizes, plan_estimates, week_features
from policies.plans import PLAN, PlanChooser
from policies.policy import Policy, load_policy
from tests.policies.conftest import make_policy
from tests.worlds import small_market, small_world

MENU = PlanMenu()
NORMAL = Guardrails(holdout=0.0)


def linear(spread: float = 1.0, seed: int = 0) -> PlanLinearChooser:
    w = small_world()
    width = sum(block_sizes(MENU, w.population.features.shape[1], w.catalogue))
    return PlanLinearChooser(torch.randn(width, generator=torch.Generator().manual_seed(seed)) * spread, MENU, NORMAL)


def actor() -> PlanActorChooser:
    w = small_world()
    torch.manual_seed(0)
    spec = ActorSpec(
        w.population.features.shape[1], len(PLAN_FEATURES), w.catalogue.features.shape[1], len(CANDIDATE_FEATURES),
        width=16, towers=8, send_prior=0.9, expected_contents=100,
    )  # fmt: skip
    network = PlanActor(spec, MENU)
    for parameter in network.parameters():  # far from the start, so that customers differ
        parameter.data += 0.3 * torch.randn_like(parameter)
    return PlanActorChooser(network, MENU, NORMAL)


def serving(chooser: PlanChooser) -> Policy:
    return make_policy(NORMAL, chooser=chooser, name="plans")


def test_estimates_are_those_of_the_features_written_out() -> None:
    market = small_market()
    seen = market.observe(market.begin(torch.arange(40), torch.Generator()))
    chooser = linear()
    estimates = plan_estimates(chooser.theta, seen, MENU)
    nothing = week_features(seen, MENU, torch.zeros(40, dtype=torch.int64)) @ chooser.theta
    for plan in torch.randint(MENU.size(len(market.catalogue)), (25,), generator=torch.Generator().manual_seed(1)):
        written = week_features(seen, MENU, plan.expand(40)) @ chooser.theta
        torch.testing.assert_close(estimates[:, plan], written - nothing, rtol=1e-3, atol=1e-3)
    rows = chooser.theta + torch.zeros(40, 1)
    torch.testing.assert_close(plan_estimates(rows, seen, MENU), estimates, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [linear, actor])
def test_a_plan_stands_for_its_week_whatever_happens(make: type[PlanChooser]) -> None:
    market, chooser = small_market(), make()  # type: ignore[call-arg]
    state = market.begin(torch.arange(200), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    follower = Follower(serving(chooser))
    first = None
    for slot in range(42):
        seen = market.observe(state)
        chances = follower.probabilities_of(seen)
        assert follower.carried is not None
        first = follower.carried if first is None else first
        assert torch.equal(follower.carried, first)
        assert torch.equal(chances.amax(dim=1), torch.ones(200))
        state, _ = market.step(state, chances.argmax(dim=1), torch.rand(200, market.noise_columns, generator=generator))
        if slot == 20:  # what would be planned now is another thing for some
            assert not torch.equal(chooser.carry(carrying(market.observe(state), None))[:, PLAN], first[:, PLAN])
    follower.probabilities_of(market.observe(state))
    assert follower.carried is not None
    assert first is not None
    assert not torch.equal(follower.carried[:, PLAN], first[:, PLAN])
    assert len(first[:, PLAN].unique()) > 1


def test_what_is_carried_goes_with_its_rows() -> None:
    market = small_market()
    seen = market.observe(market.begin(torch.arange(50), torch.Generator()))
    carried = linear().carry(seen)
    rows = torch.tensor([7, 3, 3])
    assert torch.equal(rows_of(carrying(seen, carried), rows).carried, carried[rows])  # type: ignore[arg-type]
    state = seen.state
    assert carrying(seen, carried).state is state


def test_only_policies_that_carry_something_are_followed() -> None:
    plain, planned = make_policy(), serving(linear())
    assert following(plain) is plain
    assert isinstance(following(planned), Follower)


@pytest.mark.parametrize("make", [linear, actor])
def test_a_saved_policy_of_plans_decides_as_before(make: type[PlanChooser], tmp_path: Path) -> None:
    policy = serving(make())  # type: ignore[call-arg]
    again = load_policy(policy.save(tmp_path / "policy"))
    w = small_world()
    frames = [
        [session.decide(time) for time in pd.date_range("2025-03-03", periods=12, freq="4h")]
        for session in (p.start(w.log.users, w.log.contents) for p in (policy, again))
    ]
    for one, other in zip(*frames, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert sum(frame["content_id"].notna().sum() for frame in frames[0]) > 50


def test_a_session_that_is_resumed_in_mid_week_keeps_its_plans(tmp_path: Path) -> None:
    policy, w = serving(linear()), small_world()
    times = pd.date_range("2025-03-03", periods=60, freq="4h")
    whole = policy.start(w.log.users, w.log.contents)
    half = policy.start(w.log.users, w.log.contents)
    fresh = None
    for number, time in enumerate(times):
        if number == 20:
            half = policy.resume(half.save(tmp_path / "state"))
            fresh = half.carried
        told = whole.probabilities(time)
        one, other = whole.decide(time), half.decide(time)
        pd.testing.assert_frame_equal(one, other)
        sent = one["content_id"].notna().to_numpy()
        assert bool((told[:, 1:].sum(axis=1) == sent).all())  # plans leave nothing to chance
        for session in (whole, half):  # opens change what would be planned, not what is
            session.observe(one.loc[sent, ["user_id"]].assign(time=time, opened=1))
    assert fresh is not None
    assert whole.carried is not None
    assert torch.equal(whole.carried, half.carried)
    assert int(whole.carried[0, 1] - fresh[0, 1]) == 1  # a week further


def test_who_cannot_be_reached_on_monday_has_a_plan_all_the_same() -> None:
    policy, w = serving(linear()), small_world()
    session = policy.start(w.log.users, w.log.contents)
    session.decide("2025-03-03T00:00", eligible=[False] * len(w.log.users))  # night besides
    assert session.carried is not None
    assert len(session.carried) == len(w.log.users)
    before = session.carried
    session.probabilities("2025-03-10T00:00")  # asks about another week, and reserves nothing
    assert session.carried is before


def test_exploration_mixes_with_the_plan() -> None:
    w = small_world()
    incumbent = make_policy().chooser
    policy = replace(serving(linear()), incumbent=incumbent, exploration=0.1)
    session = policy.start(w.log.users, w.log.contents)
    session.decide("2025-03-03T08:00")
    chances = session.probabilities("2025-03-03T12:00")
    largest = chances.max(axis=1)
    assert ((largest > 0.9 - 1e-6) | (chances[:, 0] > 0.9 - 1e-6)).all()
    assert ((largest < 1) & (chances > 0).any(axis=1)).any()
