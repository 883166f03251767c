"""The learned market: its step is pure, equals a scalar reference, and its log replays to its states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from campaigns.guardrails import NO_GUARDRAILS
from campaigns.history import SEND
from campaigns.objective import Objective
from envs.episodes import Episodes
from envs.market import Market, MarketState
from tests.worlds import small_market, small_world


def walk(market: Market, customers: int, slots: int, seed: int = 0) -> list[tuple[MarketState, torch.Tensor, object]]:
    """States, decisions and outcomes of some slots under random allowed decisions."""
    generator = torch.Generator().manual_seed(seed)
    state = market.begin(torch.arange(customers), generator)
    path = []
    for _ in range(slots):
        seen = market.observe(state)
        chances = seen.allowed.float() * torch.tensor([6.0] + [1.0] * len(market.catalogue))
        decision = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        noise = torch.rand(customers, market.noise_columns, generator=generator)
        following, outcome = market.step(state, decision, noise)
        path.append((state, decision, noise, outcome))
        state = following
    return [*path, (state, None, None, None)]


def trunk(weights: dict[str, np.ndarray], inputs: list[np.ndarray], member: int) -> np.ndarray:
    """One trunk's outputs for one customer, in plain numpy."""
    hidden = sum(weights[f"first.{i}.weight"] @ x for i, x in enumerate(inputs))
    hidden = np.maximum(weights["scale"][0, member] * hidden + weights["shift"][0, member], 0)
    hidden = np.maximum(
        weights["scale"][1, member] * (weights["second.weight"] @ hidden) + weights["shift"][1, member], 0
    )
    return weights["head.weight"] @ (hidden * weights["head_scale"][member]) + weights["head_shift"][member]


def scalar_expectations(market: Market, state: MarketState, decision: torch.Tensor, row: int) -> dict[str, float]:
    """What one customer's slot brings in expectation, computed one number at a time."""
    model, seen = market.model, market.observe(state)
    weights = {k: v.double().numpy() for k, v in model.network.state_dict().items()}
    part = lambda name: {k.removeprefix(name + "."): v for k, v in weights.items() if k.startswith(name + ".")}  # noqa: E731
    member, chosen = int(state.member[row]), int(decision[row])
    customer, moment = state.population.features[row].double().numpy(), seen.state[row].double().numpy()
    base = trunk(part("base"), [customer, moment], member)
    heads = dict.fromkeys(("purchase", "visit", "visit_bought", "unsubscribe", "open", "open_bought", "click",
                           "click_bought", "value", "value_clicked"), 0.0)  # fmt: skip
    for name, value in zip(("purchase", "visit", "visit_bought", "unsubscribe", "value"), base, strict=True):
        heads[name] += value
    if chosen:
        content = market.catalogue.features[chosen - 1].double().numpy()
        relative = seen.candidates[row, chosen - 1].double().numpy()
        response = trunk(part("response"), [customer, moment, content, relative], member)
        for name, value in zip(heads, response, strict=True):
            heads[name] += value
    order = ("purchase", "visit", "unsubscribe", "open", "click")

    def chance(name: str, logit: float) -> float:
        index = order.index(name)
        slope, offset = float(model.calibration.slope[index]), float(model.calibration.offset[index])
        return float(1.0 / (1.0 + np.exp(-(slope * logit + offset))))

    buy = chance("purchase", heads["purchase"])
    gate = 1.0 if chosen else 0.0
    open_bought = gate * chance("open", heads["open"] + heads["open_bought"])
    open_not = gate * chance("open", heads["open"])
    click_bought = gate * chance("click", heads["click"] + heads["click_bought"])
    visit = buy * chance("visit", heads["visit"] + heads["visit_bought"]) + (1 - buy) * chance("visit", heads["visit"])
    unclicked = heads["value"] * model.calibration.value_scale
    clicked = unclicked + gate * heads["value_clicked"] * model.calibration.value_scale
    share = open_bought * click_bought
    return {
        "expected_purchased": buy,
        "expected_opened": buy * open_bought + (1 - buy) * open_not,
        "expected_visited": visit,
        "expected_unsubscribed": chance("unsubscribe", heads["unsubscribe"]),
        "expected_value": buy * (unclicked + share * (clicked - unclicked)),
    }


def test_a_batch_step_equals_a_scalar_reference() -> None:
    market = small_market(NO_GUARDRAILS)
    for state, decision, _, outcome in walk(market, 12, 10)[:-1]:
        for row in range(0, 12, 3):
            for name, value in scalar_expectations(market, state, decision, row).items():
                assert float(getattr(outcome, name)[row]) == pytest.approx(value, rel=2e-4, abs=1e-6), name


def test_customers_do_not_touch_each_other_and_inputs_stay_as_they_were() -> None:
    market = small_market(NO_GUARDRAILS)
    for state, decision, noise, outcome in walk(market, 16, 8)[:-1]:
        before = {name: value.clone() for name, value in state.history.tensors().items()}
        again, repeated = market.step(state, decision, noise)
        assert all(torch.equal(before[name], value) for name, value in state.history.tensors().items())
        assert torch.equal(repeated.value, outcome.value)
        rows = torch.tensor([3, 11])
        part = MarketState(
            state.history.take(rows), state.slot[rows], state.member[rows], state.population.take(rows),
            state.projected[rows],
        )  # fmt: skip
        alone, some = market.step(part, decision[rows], noise[rows])
        for name, value in alone.history.tensors().items():
            assert torch.equal(value, again.history.tensors()[name][rows]), name
        assert torch.equal(some.purchased, outcome.purchased[rows])
        torch.testing.assert_close(some.expected_value, outcome.expected_value[rows], rtol=1e-5, atol=1e-6)


def test_drawn_rewards_have_the_mean_that_is_expected() -> None:
    market, objective = small_market(), Objective(outcome="opened", horizon_days=8)
    drawn, expected = (
        Episodes(market, objective, 400, seed=3, expected=flag, staggered=False) for flag in (False, True)
    )
    totals = torch.zeros(2, 400)
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        chances = drawn.masks().float()
        decision = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        for index, episodes in enumerate((drawn, expected)):
            _, transition = episodes.step(decision)
            totals[index] += transition.reward
    difference = (totals[0] - totals[1]).double()
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / 400**0.5
    assert float(totals[1].std()) < float(totals[0].std())


def test_episodes_go_on_from_a_saved_state_as_if_never_stopped() -> None:
    market, objective = small_market(), small_world().objective
    first = Episodes(market, objective, 32, seed=1)
    for _ in range(5):
        first.step(torch.zeros(32, dtype=torch.int64))
    second = Episodes(market, objective, 32, seed=99)
    second.load_state_dict(first.state_dict())
    for _ in range(60):
        decision = first.masks().long().argmax(dim=1)
        a, left = first.step(decision)
        b, right = second.step(decision)
        assert torch.equal(a, b)
        assert torch.equal(left.reward, right.reward)
        assert torch.equal(left.done, right.done)


def test_a_cut_episode_is_not_called_terminated_and_keeps_its_last_observation() -> None:
    episodes = Episodes(small_market(), Objective(horizon_days=2), 64, seed=2)
    cut = terminated = 0
    for _ in range(12):
        _, transition = episodes.step(torch.zeros(64, dtype=torch.int64))
        cut += int((transition.done & ~transition.terminated).sum())
        terminated += int(transition.terminated.sum())
        assert not bool((transition.terminated & ~transition.done).any())
        if bool(transition.done.any()):
            now = episodes.vector(episodes.seen, episodes.remaining)
            assert not torch.equal(transition.final[transition.done], now[transition.done])
            assert torch.equal(transition.final[~transition.done], now[~transition.done])
    assert cut > 0
    assert terminated > 0


def test_pessimism_lowers_expectations_by_the_members_spread_and_leaves_draws_alone() -> None:
    plain = small_market(NO_GUARDRAILS)
    doubtful = replace(plain, pessimism=2.0)
    state, decision, noise, _ = walk(plain, 20, 6)[5]
    (_, calm), (following, wary) = plain.step(state, decision, noise), doubtful.step(state, decision, noise)
    seen, content = plain.observe(state), (decision - 1).clamp(min=0)
    members = plain.model.respond_members(
        state.population.features, seen.state, plain.catalogue.features[content], seen.candidate(content), decision > 0
    )
    spread = members.expected_value.std(dim=1, correction=0)
    assert bool((spread > 0).any())
    torch.testing.assert_close(wary.expected_value, calm.expected_value - 2.0 * spread)
    assert bool((wary.expected_unsubscribed >= calm.expected_unsubscribed).all())
    assert bool((wary.expected_opened <= calm.expected_opened).all())
    assert torch.equal(wary.purchased, calm.purchased)
    assert torch.equal(wary.value, calm.value)
    assert torch.equal(following.history.total[:, SEND], plain.step(state, decision, noise)[0].history.total[:, SEND])
