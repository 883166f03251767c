"""The panel: every agent that a run can train, what it learns from, and how. A row of `PANEL` adds an agent.

Learners are loaded when they are called, so that settings can be checked before anything heavy is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.bandit_settings import EpsilonGreedySettings, LinUCBSettings, NeuralLinearSettings, ThompsonSettings
from agents.cql_settings import CQLSettings
from agents.dr_settings import DoublyRobustSettings
from agents.fqi_settings import FQISettings
from agents.lesson import LEARNED, Lesson
from agents.plan_settings import PlanPPOSettings, PlanThompsonSettings
from agents.ppo_settings import PPOSettings
from agents.rule_settings import RuleSearchSettings
from agents.sb3_settings import SB3Settings
from agents.uplift_settings import UpliftKnapsackSettings, UpliftThresholdSettings

if TYPE_CHECKING:
    from agents.logged_states import LoggedStates
    from agents.seed_choice import SeedChoice
    from policies.chooser import Chooser

AGENT, RULE = "agent", "rule"
SEEDS = "seeds.json"
"""What each of several seeds of PPO earns in the market where they learned."""

BEST_RULE = "best_rule"


@dataclass(frozen=True)
class Agent:
    """One agent of the panel.

    Attributes:
        name: as in `panel=[NAME]`, and of its settings under `agent`.
        label: what a reader is told.
        kind: `agent`, or `rule` where nothing but a few numbers is learned.
        learn: from a lesson to what chooses.
        one_shot: whether it can learn from a log that decides on every customer once. There is no market then.
        market: whether it needs one where the log is sequential; else the log, or what was fitted to it, is enough.
        settings: type of its settings; None where it has none.
        always: trained in every market without being named, and served as it is, without exploration.
        plans: whether it chooses weekly plans, not slot by slot.
    """

    name: str
    label: str
    kind: str
    learn: Callable[[Lesson], Chooser]
    one_shot: bool
    market: bool = True
    settings: type | None = None
    always: bool = False
    plans: bool = False


def _ppo(lesson: Lesson) -> Chooser:
    from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, Logger, TensorBoardOutputFormat

    from agents.ppo import train_ppo

    settings: PPOSettings = lesson.settings
    writers: list[KVWriter] = [CSVOutputFormat(str(lesson.folder / "progress.csv"))]
    if lesson.tensorboard:
        writers.append(TensorBoardOutputFormat(str(lesson.folder / "tensorboard")))
    steps = settings.steps if lesson.before is None else settings.refit_steps
    rollout = settings.rows * settings.rollout_slots
    if steps < rollout:
        lesson.progress.note(
            f"one rollout (rows x rollout_slots) is already more than {steps:,}: {rollout:,} decisions"
        )
    market = lesson.market()

    def tell(choice: SeedChoice) -> None:
        lesson.progress.note(choice.told())
        (lesson.folder / SEEDS).write_text(json.dumps(choice.to_dict(), indent=2) + "\n", encoding="utf-8")

    return train_ppo(
        market if lesson.device.type == "cpu" else market.to(lesson.device),
        lesson.objective,
        settings,
        lesson.seed,
        device=lesson.device,
        checkpoint=lesson.folder / "checkpoint.pt",
        start=None if lesson.before is None else lesson.before / LEARNED,
        keep=lesson.folder / LEARNED,
        logger=Logger(None, writers),
        progress=lambda done: lesson.progress.update(done, steps),
        on_resume=lambda done: lesson.progress.note(f"resumed from step {done:,} of {steps:,}"),
        on_choice=tell,
    )


def _linucb(lesson: Lesson) -> Chooser:
    from agents.linucb import learn_linucb

    return learn_linucb(lesson)


def _epsilon_greedy(lesson: Lesson) -> Chooser:
    from agents.epsilon_greedy import learn_epsilon_greedy

    return learn_epsilon_greedy(lesson)


def _thompson(lesson: Lesson) -> Chooser:
    from agents.thompson import learn_thompson

    return learn_thompson(lesson)


def _neural_linear(lesson: Lesson) -> Chooser:
    from agents.neural_linear import learn_neural_linear

    return learn_neural_linear(lesson)


def _propensity_greedy(lesson: Lesson) -> Chooser:
    from policies.greedy import PropensityGreedy

    return PropensityGreedy(lesson.network(), lesson.objective)


def _best_rule(lesson: Lesson) -> Chooser:
    from agents.rule_search import search_rule

    return search_rule(lesson.market(), lesson.objective, lesson.settings, lesson.seed, lesson.progress.update)


def _fqi(lesson: Lesson) -> Chooser:
    from agents.fqi import regressors_a_slot, train_fqi

    settings: FQISettings = lesson.settings
    log = lesson.log()
    beside = regressors_a_slot(log.population, log.catalogue)
    states, discount = _states(lesson, settings.gamma, settings.memory_gib, beside)
    return train_fqi(
        states, discount, settings, lesson.seed, lambda done: lesson.progress.update(done, settings.backups)
    )


def _cql(lesson: Lesson) -> Chooser:
    from agents.cql import train_cql

    settings: CQLSettings = lesson.settings
    states, discount = _states(lesson, settings.gamma, settings.memory_gib)
    return train_cql(
        states.to(lesson.device),
        discount,
        settings,
        lesson.seed,
        checkpoint=lesson.folder / "checkpoint.pt",
        progress=lambda done: lesson.progress.update(done, settings.steps),
        on_resume=lambda done: lesson.progress.note(f"resumed from minibatch {done:,} of {settings.steps:,}"),
    )


def _states(lesson: Lesson, gamma: float, memory_gib: float, beside: int = 0) -> tuple[LoggedStates, float]:
    """The log's states within the memory, and the discount of a slot."""
    from agents.logged_states import collect_states, discount

    log = lesson.log()
    states = collect_states(
        log.grid, log.population, log.catalogue, log.clock, lesson.guardrails, lesson.objective, memory_gib,
        lesson.seed, beside, lambda done: lesson.progress.update(done, log.grid.slots),
    )  # fmt: skip
    if len(states) < len(log.population):
        lesson.progress.note(f"{len(states):,} of {len(log.population):,} customers fit into {memory_gib:g} GiB")
    return states, 0.0 if log.one_shot else discount(lesson.objective, log.clock, gamma)


def _doubly_robust(lesson: Lesson) -> Chooser:
    from agents.doubly_robust import learn_doubly_robust

    return learn_doubly_robust(lesson)


def _uplift_threshold(lesson: Lesson) -> Chooser:
    from agents.uplift import learn_threshold

    return learn_threshold(lesson)


def _uplift_knapsack(lesson: Lesson) -> Chooser:
    from agents.uplift import learn_price

    return learn_price(lesson)


def _sb3(lesson: Lesson) -> Chooser:
    from agents.sb3 import train_sb3

    settings: SB3Settings = lesson.settings
    market = lesson.market()
    return train_sb3(
        market if lesson.device.type == "cpu" else market.to(lesson.device),
        lesson.objective,
        settings,
        lesson.seed,
        device=lesson.device,
        progress=lambda done: lesson.progress.update(done, settings.steps),
    )


def _plan_ppo(lesson: Lesson) -> Chooser:
    from stable_baselines3.common.logger import CSVOutputFormat, Logger

    from agents.plan_ppo import train_plan_ppo

    settings: PlanPPOSettings = lesson.settings
    plans = settings.plans if lesson.before is None else settings.refit_plans
    return train_plan_ppo(
        lesson.market(),
        lesson.objective,
        settings,
        lesson.seed,
        checkpoint=lesson.folder / "checkpoint.pt",
        start=None if lesson.before is None else lesson.before / LEARNED,
        keep=lesson.folder / LEARNED,
        logger=Logger(None, [CSVOutputFormat(str(lesson.folder / "progress.csv"))]),
        progress=lambda done: lesson.progress.update(min(done, plans), plans),
        on_resume=lambda done: lesson.progress.note(f"resumed from plan {done:,} of {plans:,}"),
    )


def _plan_thompson(lesson: Lesson) -> Chooser:
    from agents.plan_thompson import train_plan_thompson

    settings: PlanThompsonSettings = lesson.settings
    return train_plan_thompson(
        lesson.market(), lesson.objective, settings, lesson.seed,
        lambda done: lesson.progress.update(done, settings.weeks),
    )  # fmt: skip


PANEL: dict[str, Agent] = {
    agent.name: agent
    for agent in (
        Agent("ppo", "PPO agent", AGENT, _ppo, one_shot=False, settings=PPOSettings),
        Agent("linucb", "LinUCB bandit", AGENT, _linucb, one_shot=True, settings=LinUCBSettings),
        Agent("epsilon_greedy", "epsilon-greedy bandit", AGENT, _epsilon_greedy, one_shot=True,
              settings=EpsilonGreedySettings),
        Agent("thompson", "Thompson-sampling bandit", AGENT, _thompson, one_shot=True, settings=ThompsonSettings),
        Agent("neural_linear", "neural-linear bandit", AGENT, _neural_linear, one_shot=True,
              settings=NeuralLinearSettings),
        Agent("fqi", "fitted Q iteration", AGENT, _fqi, one_shot=True, market=False, settings=FQISettings),
        Agent("cql", "conservative Q-learning", AGENT, _cql, one_shot=True, market=False, settings=CQLSettings),
        Agent("doubly_robust", "doubly robust learner", AGENT, _doubly_robust, one_shot=True, market=False,
              settings=DoublyRobustSettings),
        Agent("sb3", "Stable-Baselines3 agent", AGENT, _sb3, one_shot=False, settings=SB3Settings),
        Agent("plan_ppo", "PPO agent of weekly plans", AGENT, _plan_ppo, one_shot=False, settings=PlanPPOSettings,
              plans=True),
        Agent("plan_thompson", "Thompson bandit of weekly plans", AGENT, _plan_thompson, one_shot=False,
              settings=PlanThompsonSettings, plans=True),
        Agent("propensity_greedy", "propensity-greedy rule", RULE, _propensity_greedy, one_shot=True, market=False),
        Agent("uplift_threshold", "uplift threshold", RULE, _uplift_threshold, one_shot=False,
              settings=UpliftThresholdSettings),
        Agent("uplift_knapsack", "uplift within a budget", RULE, _uplift_knapsack, one_shot=True,
              settings=UpliftKnapsackSettings),
        Agent(BEST_RULE, "best simple rule", RULE, _best_rule, one_shot=False, settings=RuleSearchSettings,
              always=True),
    )
}  # fmt: skip

AGENTS = tuple(name for name, agent in PANEL.items() if not agent.always)
"""Names that a panel may list."""
