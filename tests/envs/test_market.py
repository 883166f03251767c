"""The learned market: its step is pure, equals a scalar reference, and its log replays to its states."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from campaigns import history as past
from campaigns.guardrails import NO_GUARDRAILS, Guardrails
from campaigns.history import SEND
from campaigns.objective import Objective
from envs.episodes import Episodes
from envs.market import Market, MarketState
from tests.envs.hand_made import EVENING, Law, hand_made_market
from tests.envs.scalar_market import Fitted, Past, Place, candidate_features, live, state_features
from tests.worlds import numberless, small_market, small_world, tensors_of


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


def fitted(market: Market) -> Fitted:
    """The market's network as plain arrays."""
    model = market.model
    weights = {name: values.double().numpy() for name, values in model.predictor.state_dict().items()}
    c = model.calibration
    return Fitted(
        weights,
        c.slope.double().numpy(),
        c.offset.double().numpy(),
        c.value_scale,
        c.residuals.double().numpy(),
        c.floor,
    )


def lively(market: Market) -> Market:
    """The market with opens, purchases and opt-outs so frequent that short lives hold many of them."""
    model = market.model
    offset = model.calibration.offset + torch.tensor([2.5, 1.0, 4.0, 1.0, 1.5])
    return replace(market, model=replace(model, calibration=replace(model.calibration, offset=offset)))


def test_customers_live_as_in_a_scalar_reference_that_shares_no_code() -> None:
    market, customers, slots = lively(small_market(NO_GUARDRAILS)), 14, 45
    law, contents = fitted(market), market.catalogue.features.double().numpy()
    path = walk(market, customers, slots)
    seen_events = dict.fromkeys(("opened", "clicked", "visited", "purchased", "unsubscribed"), 0)
    for row in range(customers):
        people, past = market.pool, Past()
        place = Place(
            market.clock.slot_hours, people.zones[int(people.zone[row])], tuple(market.catalogue.category.tolist())
        )
        for state, decision, noise, outcome in path[:-1]:
            chosen = int(decision[row])
            content = chosen - 1 if chosen else None
            seen = market.observe(state)
            np.testing.assert_allclose(
                seen.state[row].numpy(), state_features(past, int(state.slot[row]), place), rtol=1e-4, atol=1e-5
            )
            for k in (0, chosen - 1):
                relative = candidate_features(past, int(state.slot[row]), max(k, 0), place)
                np.testing.assert_allclose(seen.candidates[row, max(k, 0)].numpy(), relative, rtol=1e-4, atol=1e-5)
            slot = live(
                law, past, int(state.slot[row]), place, people.features[row].double().numpy(), int(state.member[row]),
                bool(people.consent[row, 0]), content, contents[max(chosen - 1, 0)], noise[row].double().numpy(),
            )  # fmt: skip
            for name, value in slot.expected.items():
                assert float(getattr(outcome, name)[row]) == pytest.approx(value, rel=5e-4, abs=1e-5), name
            for name in seen_events:
                assert bool(getattr(outcome, name)[row]) == getattr(slot, name), name
                seen_events[name] += getattr(slot, name)
            assert float(outcome.value[row]) == pytest.approx(slot.value, rel=1e-3, abs=1e-4)
        final = path[-1][0].history
        assert final.total[row].tolist() == [
            len(past.sends), len(past.opens), len(past.clicks), len(past.visits), len(past.purchases),
            sum(content is None for _, content, _ in past.purchases),
        ]  # fmt: skip
        assert bool(final.opted_out[row, 0]) == past.left
    assert min(seen_events.values()) > 5


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
        assert torch.equal(transition.ended, torch.nonzero(transition.done).flatten())
        if len(transition.ended):
            now = episodes.vector(episodes.seen, episodes.remaining)
            assert transition.final.shape == now[transition.ended].shape
            assert not torch.equal(transition.final, now[transition.ended])
    assert cut > 0
    assert terminated > 0


def test_pessimism_lowers_expectations_by_the_members_spread_and_leaves_draws_alone() -> None:
    law = Law(idle=(0.1, 0.3), leaves=0.02)
    calm, wary = hand_made_market(law), hand_made_market(law, pessimism=0.5)
    state = calm.begin(torch.arange(40), torch.Generator().manual_seed(0))
    hold, noise = torch.zeros(40, dtype=torch.int64), torch.rand(40, 6, generator=torch.Generator().manual_seed(1))
    (plain_state, plain), (wary_state, doubted) = calm.step(state, hold, noise), wary.step(state, hold, noise)
    own = torch.tensor([0.1, 0.3])[state.member]
    torch.testing.assert_close(plain.expected_purchased, own)
    # Two members at 0.1 and 0.3 have a standard deviation of 0.1, times a basket of 10.
    torch.testing.assert_close(doubted.expected_purchased, own - 0.5 * 0.1)
    torch.testing.assert_close(doubted.expected_value, 10 * own - 0.5 * 1.0)
    torch.testing.assert_close(doubted.expected_unsubscribed, plain.expected_unsubscribed)  # members agree on it
    for name in ("purchased", "opened", "unsubscribed", "value"):
        assert torch.equal(getattr(doubted, name), getattr(plain, name)), name
    for name, value in plain_state.history.tensors().items():
        assert torch.equal(value, wary_state.history.tensors()[name]), name


def test_doubt_makes_opt_outs_likelier_and_keeps_probabilities_in_range() -> None:
    plain = small_market(NO_GUARDRAILS)
    state, decision, noise, calm = walk(plain, 20, 6)[5]
    _, wary = replace(plain, pessimism=50.0).step(state, decision, noise)
    assert bool((wary.expected_unsubscribed > calm.expected_unsubscribed).any())
    assert bool((wary.expected_unsubscribed <= 1).all())
    for name in ("expected_opened", "expected_clicked", "expected_visited", "expected_purchased"):
        assert bool((getattr(wary, name) >= 0).all())
        assert bool((getattr(wary, name) <= getattr(calm, name)).all())


@pytest.mark.filterwarnings("ignore:.*meta parameter")
def test_a_market_moves_to_another_device_whole() -> None:
    market = small_market()
    market = replace(market, start=past.start(len(market.pool), market.catalogue))
    assert len(list(tensors_of(market))) > 20
    assert {tensor.device.type for tensor in tensors_of(market.to("meta"))} == {"meta"}
    assert {tensor.device.type for tensor in tensors_of(market)} == {"cpu"}


def test_a_slot_of_all_episodes_looks_at_no_number_and_stays_on_its_device() -> None:
    """Tensors of the meta device hold no numbers: a branch on one, or a tensor left on the CPU, would raise."""
    episodes = Episodes(small_market(), Objective(horizon_days=2), 20, seed=0, staggered=False)
    numberless(episodes)
    for _ in range(3):
        vectors, transition = episodes.step(torch.zeros(20, dtype=torch.int64, device="meta"))
        seen = episodes.seen
        for result in (
            vectors,
            transition.reward,
            transition.done,
            seen.allowed,
            seen.candidates,
            seen.candidate_range,
        ):
            assert result.device.type == "meta"


def test_an_expectation_depends_on_what_is_sent_and_when() -> None:
    law = Law()
    market = hand_made_market(law)
    state = market.begin(torch.arange(4), torch.Generator().manual_seed(0))
    for _ in range(6):
        seen = market.observe(state)
        state, outcome = market.step(state, torch.tensor([0, 1, 2, 3]), torch.full((4, 6), 0.999), seen)
        lift = [0.0, law.gain * float(seen.state[1, EVENING]), -law.gain, 0.0]
        wanted = [law.purchase(x) for x in lift]
        torch.testing.assert_close(outcome.expected_purchased, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cuts", [True, False])
def test_all_episodes_last_their_horizon_after_the_first_which_staggering_shortens(cuts: bool) -> None:
    episodes = Episodes(hand_made_market(), Objective(horizon_days=2), 50, seed=0, staggered=cuts)
    ends: list[list[int]] = [[] for _ in range(50)]
    for slot in range(1, 41):
        before = episodes.remaining
        _, transition = episodes.step(torch.zeros(50, dtype=torch.int64))
        assert bool((before > 0).all())
        for row in torch.nonzero(transition.done).flatten().tolist():
            ends[row].append(slot)
    firsts = {stops[0] for stops in ends}
    assert firsts == {12} if not cuts else len(firsts) > 6
    assert all(b - a == 12 for stops in ends for a, b in pairwise(stops))


def test_a_continuing_world_is_cut_and_never_terminates() -> None:
    episodes = Episodes(hand_made_market(), Objective(horizon_days=1, terminal="continue"), 20, seed=0)
    done = terminated = 0
    for _ in range(12):
        _, transition = episodes.step(torch.zeros(20, dtype=torch.int64))
        done, terminated = done + int(transition.done.sum()), terminated + int(transition.terminated.sum())
    assert done >= 20
    assert terminated == 0


def test_newcomers_are_new_customers_with_no_past_and_members_of_their_own() -> None:
    market = small_market()
    episodes = Episodes(market, Objective(horizon_days=1), 200, seed=0, staggered=False)
    before, members = episodes.state.population.features.clone(), episodes.state.member.clone()
    for _ in range(6):
        _, transition = episodes.step(torch.zeros(200, dtype=torch.int64))
    assert bool(transition.done.all())
    assert bool((episodes.state.history.first == past.NEVER).all())
    assert bool((episodes.state.slot == market.first_slot).all())
    assert not torch.equal(episodes.state.population.features, before)
    assert not torch.equal(episodes.state.member, members)
    torch.testing.assert_close(
        episodes.state.projected, market.model.project_customers(episodes.state.population.features)
    )


def test_what_the_masks_forbid_is_held_and_costs_nothing() -> None:
    market = hand_made_market(guardrails=Guardrails("shut", 0, 24, 0, 0, 0.0, 0.0, 0, 0, 0.0), cost=5.0)
    sent, held = (Episodes(market, Objective(horizon_days=2), 30, seed=0) for _ in range(2))
    for _ in range(8):
        _, a = sent.step(torch.full((30,), 2))
        _, b = held.step(torch.zeros(30, dtype=torch.int64))
        assert torch.equal(a.reward, b.reward)
    assert int(sent.state.history.total[:, SEND].sum()) == 0
