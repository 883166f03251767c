"""Shortcuts of the choosers change no answer, and every kind serves in a process that knows of nothing above it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from campaigns.features import CANDIDATE_FEATURES, STATE_FEATURES
from campaigns.guardrails import Guardrails
from campaigns.logging_policy import fit_logging_policy
from campaigns.observation import Observation
from campaigns.replay import replay
from policies import load_policy
from policies.actor import Actor, ActorChooser, ActorSpec
from policies.bandit import LinUCBChooser, bandit_features, decided_features, estimates, feature_width
from policies.chooser import Chooser, sample
from policies.decision_values import LinearValues, TowerValues, ValueTowers
from policies.greedy import PropensityGreedy
from policies.incumbent import Incumbent
from policies.knapsack import UpliftKnapsack
from policies.neural_linear import NeuralLinearVotes, RewardNetwork, RewardNetworkSpec
from policies.perceptron import PerceptronValues
from policies.rules import CapDaypartContent, Never, Random
from policies.votes import LinearVotes
from tests.policies.conftest import make_policy
from tests.policies.test_tables import tables
from tests.worlds import small_model, small_world

NOON = "2025-03-05T12:00"


def seen() -> Observation:
    """Customers of the small world late in its log, some of whom may be sent nothing."""
    world = small_world()
    steps = replay(world.grid, world.population, world.catalogue, world.log.clock, guardrails=Guardrails(holdout=0.0))
    return next(step for step in steps if step.column == 33).observation


def choosers() -> dict[str, Chooser]:
    """One of every kind, weights drawn."""
    world = small_world()
    torch.manual_seed(0)
    features = world.population.features.shape[1], world.catalogue.features.shape[1]
    spec = ActorSpec(features[0], len(STATE_FEATURES), features[1], len(CANDIDATE_FEATURES), send_prior=0.5)
    size = bandit_features(seen()).shape[2]
    logging = fit_logging_policy(world.grid, world.population, world.catalogue, world.log.clock, rows=2000, epochs=1)
    neural = RewardNetworkSpec(
        features[0] + len(STATE_FEATURES), features[1] + len(CANDIDATE_FEATURES), width=16, last=8
    )
    return {
        "actor": ActorChooser(Actor(spec)),
        "linucb": LinUCBChooser(torch.randn(size), torch.eye(size), 0.0),
        "linucb with a bound": LinUCBChooser(torch.randn(size), torch.eye(size), 0.3),
        "votes": LinearVotes(torch.randn(20, size), epsilon=0.1),
        "neural_linear": NeuralLinearVotes(RewardNetwork(neural), torch.randn(20, 9)),
        "linear_values": LinearValues(torch.randn(size), 0.5),
        "tower_values": TowerValues(ValueTowers(spec), 10.0, 0.0),
        "perceptron_values": perceptron(features[0]),
        "propensity_greedy": PropensityGreedy(small_model(), world.objective, threshold=-1.0),
        "uplift_knapsack": UpliftKnapsack(small_model(), world.objective, -1.0, by_cost=False),
        "rule": CapDaypartContent(3, "any", "favourite"),
        "random": Random(0.7),
        "never": Never(),
        "incumbent": Incumbent(logging),
    }


def perceptron(people: int) -> PerceptronValues:
    """Over the small world's contents by name."""
    ids = [str(i) for i in small_world().catalogue.ids]
    inputs = people + len(STATE_FEATURES) + len(ids) * len(CANDIDATE_FEATURES)
    layers = [(torch.randn(8, inputs), torch.randn(8)), (torch.randn(1 + len(ids), 8), torch.randn(1 + len(ids)))]
    return PerceptronValues(layers, "Tanh", ids, 1.0)


KINDS = [
    "actor", "linucb", "linucb with a bound", "votes", "neural_linear", "linear_values", "tower_values",
    "perceptron_values", "propensity_greedy", "uplift_knapsack", "rule", "random", "never", "incumbent",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_contract_of_choosers(kind: str) -> None:
    observation = seen()
    chances = choosers()[kind].probabilities(observation)
    assert chances.shape == observation.allowed.shape
    assert (chances >= 0).all()
    assert (chances[~observation.allowed] == 0).all()
    torch.testing.assert_close(chances.sum(dim=1), torch.ones(len(observation)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["sampled", "greedy"])
def test_leaving_out_who_may_be_sent_nothing_changes_no_answer(kind: str, mode: str) -> None:
    observation, chooser = seen(), choosers()[kind]
    stuck = ~observation.allowed[:, 1:].any(dim=1)
    assert 0 < int(stuck.sum()) < len(observation)
    policy = make_policy(chooser=chooser, incumbent=Random(0.5), exploration=0.1, mode=mode)
    torch.testing.assert_close(policy.probabilities_of(observation), policy._choose(observation), atol=1e-6, rtol=0)


def test_the_bandit_scores_blocks_as_it_would_score_written_out_features() -> None:
    observation = seen()
    features = bandit_features(observation)
    theta = torch.randn(features.shape[2], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(estimates(theta, observation), features @ theta, atol=1e-4, rtol=1e-5)
    exact = (features.double() @ theta.double()).float()
    several = estimates(torch.stack([theta, -theta]), observation)
    torch.testing.assert_close(several[:, 0], estimates(theta, observation), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(several[:, 1], -several[:, 0], atol=1e-4, rtol=1e-5)
    assert feature_width(observation.population, observation.catalogue) == features.shape[2]
    decision = torch.arange(len(observation)) % features.shape[1]
    decided = decided_features(observation, decision)
    assert torch.equal(decided, features[torch.arange(len(observation)), decision])
    assert (estimates(theta, observation) - exact).abs().max() <= 1e-5 * exact.abs().max()


def test_a_wide_bound_is_the_same_in_pieces() -> None:
    observation, chooser = seen(), choosers()["linucb with a bound"]
    assert isinstance(chooser, LinUCBChooser)
    scores = chooser.scores(bandit_features(observation)).masked_fill(~observation.allowed, -torch.inf)
    assert (chooser.probabilities(observation).argmax(dim=1) == scores.argmax(dim=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_has_the_probability_that_is_said_of_it(kind: str) -> None:
    users, contents = tables(300)
    policy = make_policy(Guardrails(holdout=0.0), chooser=choosers()[kind], incumbent=Random(0.5), exploration=0.1)
    session = policy.start(users, contents)
    chances = session.probabilities(NOON)
    frame = session.decide(NOON)
    place = {c: 1 + i for i, c in enumerate(contents["content_id"])}
    column = np.array([0 if c is None else place[c] for c in frame["content_id"]])
    np.testing.assert_allclose(frame["action_prob"], chances[np.arange(300), column], rtol=1e-12)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=1e-12)
    assert frame["action_prob"].min() > 0


def test_a_draw_never_lands_on_what_has_no_chance() -> None:
    chances = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(3, -1)
    drawn = sample(chances, torch.tensor([0.0, 0.3 - 1e-9, 1 - 2**-53], dtype=torch.float64))
    assert drawn.tolist() == [1, 1, 3]


SERVE = """
import sys
import pandas as pd
from policies import load_policy
folder, *names = sys.argv[1:]
users = pd.read_parquet(f"{folder}/users.parquet")
contents = pd.read_parquet(f"{folder}/contents.parquet")
for name in names:
    policy = load_policy(f"{folder}/{name}")
    session = policy.start(users, contents)
    frame = session.decide("2025-03-05T12:00")
    session.observe(frame.assign(time="2025-03-05T12:00", opened=0)[["user_id", "time", "content_id", "opened"]])
    policy.resume(session.save(f"{folder}/state")).decide("2025-03-05T16:00")
    print(name, len(frame), int(frame["content_id"].notna().sum()))
above = {"envs", "agents", "evaluation", "stable_baselines3", "sb3_contrib", "gymnasium", "hydra"}
found = sorted(above & {name.split(".")[0] for name in sys.modules})
assert not found, found
"""


def serve_elsewhere(folder: Path, names: list[str]) -> dict[str, tuple[int, int]]:
    """Customers and sends by policy, from a process of its own, for customers and contents that no log has seen."""
    users, contents = tables(100)
    users.assign(user_id=range(1000, 1100), region="moon").to_parquet(folder / "users.parquet")
    new = contents.head(4).assign(content_id=[11, 12, 13, 14], category=["garden", "toys", "garden", "toys"])
    new.to_parquet(folder / "contents.parquet")
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder), *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
    return {name: (int(customers), int(sends)) for name, customers, sends in rows}


def test_every_kind_serves_other_customers_and_contents_without_what_trained_it(tmp_path: Path) -> None:
    made = choosers()
    for kind, chooser in made.items():
        make_policy(chooser=chooser, incumbent=made["incumbent"]).save(tmp_path / kind)
    served = serve_elsewhere(tmp_path, KINDS)
    assert {customers for customers, _ in served.values()} == {100}
    assert all(
        served[kind][1] > 0 for kind in ("actor", "linear_values", "propensity_greedy", "rule", "random", "incumbent")
    )


@pytest.mark.slow
def test_what_a_run_leaves_serves_from_a_copy_of_its_folder(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [
            sys.executable, "scripts/run.py", "debug=fast", "panel=[ppo,linucb,propensity_greedy,cql,fqi,sb3]",
            f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'run'}",
        ],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    moved = tmp_path / "moved"
    (tmp_path / "run").rename(moved)
    agents = sorted(path.parent.name for path in moved.glob("agents/*/policy"))
    assert {"ppo", "linucb", "propensity_greedy", "cql", "fqi", "sb3"} <= set(agents)
    served = serve_elsewhere(moved, ["policy", *(f"agents/{name}/policy" for name in agents)])
    assert {customers for customers, _ in served.values()} == {100}
    assert load_policy(moved / "policy").recommended in (True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_no_customers_company_changes_his_decision(kind: str) -> None:
    users, contents = tables(300)
    policy = make_policy(Guardrails(holdout=0.1), chooser=choosers()[kind], incumbent=Random(0.5), exploration=0.1)
    everyone = policy.start(users, contents).decide(NOON).set_index("user_id")
    part = policy.start(users.sample(frac=0.3, random_state=0), contents).decide(NOON).set_index("user_id")
    alike = everyone.loc[part.index]
    assert part["content_id"].tolist() == alike["content_id"].tolist()
    assert part["reason"].tolist() == alike["reason"].tolist()
    np.testing.assert_allclose(part["action_prob"], alike["action_prob"], rtol=1e-5)
