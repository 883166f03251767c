"""Some hundred opt-outs teach what they can: how load raises them, and nothing that was chance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch

from campaigns.audience import Population
from campaigns.features import LOAD_FEATURES, STATE_FEATURES
from propensity.fit import FitTables
from propensity.model import CALIBRATED, Calibration, PropensityModel
from propensity.network import HEADS, NetworkSpec, PropensityNetwork
from propensity.optouts import level_doubt, refit_optouts

SENDS, HOLDS, PEOPLE, WIDTH = 40_000, 2_000, 8_000, 8
LOAD, OTHERS = STATE_FEATURES.index(LOAD_FEATURES[0]), 3
PLACE = HEADS.index("unsubscribe")


def chance(load: torch.Tensor, rate: float = 0.004) -> torch.Tensor:
    """The planted law: load alone raises opting out, from `rate` at none."""
    return rate * torch.exp(0.6 * load)


@dataclass(frozen=True)
class Refit:
    """A log of that law, and a network whose opt-out head was all noise before it was fitted again."""

    network: PropensityNetwork
    population: Population
    tables: FitTables
    outputs: torch.Tensor
    doubt: torch.Tensor


def make_tables(g: torch.Generator, rate: float = 0.004) -> FitTables:
    """Sends at many loads and holds; everything but the load is noise."""
    rows = SENDS + HOLDS
    state = torch.zeros(rows, len(STATE_FEATURES))
    state[:, :OTHERS] = torch.randn(rows, OTHERS, generator=g)
    state[:, LOAD] = torch.rand(rows, generator=g)
    sent = torch.arange(rows) < SENDS
    left = (torch.rand(rows, generator=g) < chance(state[:, LOAD], rate)) & sent
    every = torch.ones(rows, dtype=torch.bool)
    return FitTables(
        torch.randint(PEOPLE, (rows,), generator=g), state, torch.randn(rows, 2, generator=g) * sent.unsqueeze(1),
        torch.randn(rows, 2, generator=g), sent, torch.ones(rows), {"unsubscribed": left.float()},
        {"unsubscribed": every}, 1.0,
    )  # fmt: skip


@cache
def refit(seed: int = 0, members: int = 4) -> Refit:
    """About 200 opt-outs."""
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tables = make_tables(g)
    some = torch.zeros(PEOPLE, dtype=torch.int64)
    consent = torch.ones(PEOPLE, 1, dtype=torch.bool)
    people = Population(torch.randn(PEOPLE, 4, generator=g), some, consent, some.bool(), ("UTC",))
    network = PropensityNetwork(NetworkSpec(4, len(STATE_FEATURES), 2, 2, members, WIDTH, tastes=2)).eval()
    with torch.no_grad():
        for trunk in (network.base, network.response):
            for layer in trunk.first:
                layer.weight.normal_(std=0.5, generator=g)
        network.tastes.weight.normal_(generator=g)
    bootstrap = torch.poisson(torch.ones(PEOPLE, members), generator=g)
    outputs = torch.zeros(len(tables.sent), members, len(HEADS))
    doubt = refit_optouts(network, tables, people, bootstrap, outputs)
    assert doubt is not None
    return Refit(network, people, tables, outputs, doubt)


def asked(network: PropensityNetwork, people: Population, tables: FitTables) -> torch.Tensor:
    """The network's own answer to all rows. Shape [R, k]."""
    with torch.no_grad():
        projected = network.project_customers(people.features[tables.customers])
        return network(projected, tables.state, tables.contents, tables.candidate, tables.sent, None)[..., PLACE]


def test_the_load_of_recent_sends_is_learned_and_noise_is_not() -> None:
    found = refit()
    new = make_tables(torch.Generator().manual_seed(99))
    said = torch.sigmoid(asked(found.network, found.population, new)).mean(dim=1)[new.sent]
    load = new.state[new.sent, LOAD]
    true = chance(load)
    for part in (load < 0.25, load > 0.75):
        assert 0.85 < float(said[part].sum() / true[part].sum()) < 1.15
    # Those to whom least is said to happen: chance that was learned by heart would show here.
    low = said < said.quantile(0.1)
    assert 0.75 < float(said[low].sum() / true[low].sum()) < 1.25


def test_outputs_are_what_the_network_says_from_now_on() -> None:
    found = refit()
    torch.testing.assert_close(
        found.outputs[..., PLACE], asked(found.network, found.population, found.tables), atol=1e-4, rtol=1e-4
    )
    assert found.outputs[~found.tables.sent][..., PLACE].std() < 1e-6  # nobody opted out of a hold


def test_members_levels_lie_as_far_apart_as_the_log_can_tell() -> None:
    levels = refit(members=16).network.response.head_shift[:, PLACE].detach()
    events = float(refit().tables.outcome["unsubscribed"].sum())
    assert 0.6 * events**-0.5 < float(levels.std()) < 1.5 * events**-0.5


def test_the_doubt_covers_the_miss_of_other_logs() -> None:
    """Predicted opt-outs of a policy that sends at high load alone, over eight logs: misses in their own deviations."""
    misses = []
    for seed in range(8):
        found = refit(seed, members=1)
        t = found.tables
        rows = torch.nonzero(t.sent & (t.state[:, LOAD] > 0.8)).squeeze(1)
        inputs = found.network.response_inputs(
            found.population.features[t.customers[rows]], t.state[rows], t.contents[rows], t.candidate[rows]
        )
        said = torch.sigmoid(found.outputs[rows, 0, PLACE])
        pull = (said * (1 - said)) @ inputs / said.sum()
        true = chance(t.state[rows, LOAD]).sum()
        misses.append(float(torch.log(said.sum() / true) / (pull @ found.doubt @ pull).sqrt()))
    spread = torch.tensor(misses).square().mean().sqrt()
    assert 0.5 < spread < 1.6


def test_the_pull_is_how_the_sum_moves_with_the_weights() -> None:
    found = refit()
    t, rows = found.tables, torch.arange(500)
    inputs = (found.population.features[t.customers[rows]], t.state[rows], t.contents[rows], t.candidate[rows])
    same = Calibration(torch.ones(len(CALIBRATED)), torch.zeros(2, len(CALIBRATED)), 1.0, torch.zeros(8), 0.0)
    network = PropensityNetwork.restore(found.network.settings(), found.network.weights())

    def model(weights: torch.Tensor) -> PropensityModel:
        network.rewrite_response("unsubscribe", weights, torch.zeros(4))
        return PropensityModel(network, same, frozenset({"unsubscribe"}), found.doubt)

    size = len(found.doubt)
    weights = 0.05 * torch.randn(size, generator=torch.Generator().manual_seed(5))
    weights[0] = -4.0
    step = 1e-3 * torch.randn(size, generator=torch.Generator().manual_seed(6))
    pull, _ = model(weights).optout_pull(*inputs)
    above, below = (model(weights + sign * step).optout_pull(*inputs)[1] for sign in (1.0, -1.0))
    assert (above - below) / 2 == pytest.approx(float(pull @ step.double()), rel=0.06)  # members' units differ
    level = replace(model(weights), doubt=level_doubt(t))
    assert level.doubt is not None
    assert 1.0 / float(level.doubt) == pytest.approx(float(t.outcome["unsubscribed"].sum()), rel=1e-5)
    assert level.optout_pull(*inputs)[0].shape == (1,)


def test_a_log_without_opt_outs_leaves_the_network_alone() -> None:
    found = refit()
    none = replace(found.tables, outcome={"unsubscribed": torch.zeros(len(found.tables.sent))})
    before = {name: value.clone() for name, value in found.network.state_dict().items()}
    assert refit_optouts(found.network, none, found.population, torch.ones(PEOPLE, 4), found.outputs.clone()) is None
    assert all(torch.equal(value, before[name]) for name, value in found.network.state_dict().items())
