"""The schema of every Hydra group, so that a wrong key or type fails at once.

Objective, guardrails and the settings of fits and agents are the very dataclasses that the packages use.
"""

from __future__ import annotations

from dataclasses import MISSING as DATACLASS_MISSING
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from functools import cache
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from agents.bandit_settings import EpsilonGreedySettings, LinUCBSettings, NeuralLinearSettings, ThompsonSettings
from agents.cql_settings import CQLSettings
from agents.dr_settings import DoublyRobustSettings
from agents.fqi_settings import FQISettings
from agents.plan_settings import PlanPPOSettings, PlanThompsonSettings
from agents.ppo_settings import PPOSettings
from agents.rule_settings import RuleSearchSettings
from agents.sb3_settings import SB3Settings
from agents.uplift_settings import UpliftKnapsackSettings, UpliftThresholdSettings
from campaigns.datasets import PUBLIC_SETS
from campaigns.guardrails import Guardrails
from campaigns.objective import Objective
from evaluation.offline_settings import OfflineSettings
from propensity.fit_settings import FitSettings

SOURCES = ("reference", "log", *PUBLIC_SETS)
SPLITS = ("customer", "group", "time", "row")
DEFAULT_PANEL = ("ppo", "linucb", "propensity_greedy")
GATES = ("strict", "warn")
MARKETS = ("learned", "reference")


@dataclass
class DataConfig:
    """Where the log comes from, and how it is read. The YAML files of `conf/data` say what each key means."""

    source: str = MISSING
    path: str = ""
    variant: str = "ecommerce"
    channels: list[str] = field(default_factory=lambda: ["push"])
    customers: int = 8000
    days: int = 28
    exploration: float = 1.0
    holds: str = "logged"
    slot_hours: int = 4
    attribution_hours: float = 24.0
    timezone: str = "UTC"
    max_rejected: float = 0.05
    split: str = "customer"
    text: str = "none"


@dataclass
class MarketConfig:
    """The learned market and its gate."""

    source: str = "learned"
    judge_kind: str | None = None
    pessimism: float = 0.0
    support: float = 0.999
    thin: float = 0.975
    gate: str = "strict"
    margin: float = 0.1
    judge_customers: int = 2000


@dataclass
class AgentConfig:
    """Which agents learn, and how: a field for each of `agents.panel.PANEL` that has settings."""

    names: list[str] = field(default_factory=lambda: list(DEFAULT_PANEL))
    ppo: PPOSettings = field(default_factory=PPOSettings)
    linucb: LinUCBSettings = field(default_factory=LinUCBSettings)
    epsilon_greedy: EpsilonGreedySettings = field(default_factory=EpsilonGreedySettings)
    thompson: ThompsonSettings = field(default_factory=ThompsonSettings)
    neural_linear: NeuralLinearSettings = field(default_factory=NeuralLinearSettings)
    fqi: FQISettings = field(default_factory=FQISettings)
    cql: CQLSettings = field(default_factory=CQLSettings)
    doubly_robust: DoublyRobustSettings = field(default_factory=DoublyRobustSettings)
    sb3: SB3Settings = field(default_factory=SB3Settings)
    uplift_threshold: UpliftThresholdSettings = field(default_factory=UpliftThresholdSettings)
    uplift_knapsack: UpliftKnapsackSettings = field(default_factory=UpliftKnapsackSettings)
    plan_ppo: PlanPPOSettings = field(default_factory=PlanPPOSettings)
    plan_thompson: PlanThompsonSettings = field(default_factory=PlanThompsonSettings)
    best_rule: RuleSearchSettings = field(default_factory=RuleSearchSettings)


@dataclass
class PolicyConfig:
    """How a policy serves."""

    mode: str = "sampled"
    exploration: float = 0.02


@dataclass
class TrackingConfig:
    """Where training curves go besides the run folder."""

    kind: str = "local"
    tensorboard: bool = True


@dataclass
class RunConfig:
    """Everything that a run depends on."""

    data: DataConfig = MISSING
    objective: Objective = MISSING
    guardrails: Guardrails = MISSING
    propensity: FitSettings = MISSING
    market: MarketConfig = MISSING
    agent: AgentConfig = MISSING
    policy: PolicyConfig = MISSING
    evaluation: OfflineSettings = MISSING
    tracking: TrackingConfig = MISSING
    panel: list[str] | None = None
    seed: int = 0
    device: str = "auto"
    processes: int = 2
    cache_dir: str = ".cache"
    run: str | None = None
    previous: str | None = None
    previous_days: int | None = None
    out: str | None = None
    users: str | None = None
    contents: str | None = None
    time: str | None = None
    content: str | None = None
    campaign: str | None = None
    policy_folder: str | None = None
    log: str | None = None
    target: str = "columns"


GROUPS: dict[str, type] = {
    "data": DataConfig,
    "objective": Objective,
    "guardrails": Guardrails,
    "propensity": FitSettings,
    "market": MarketConfig,
    "agent": AgentConfig,
    "policy": PolicyConfig,
    "evaluation": OfflineSettings,
    "tracking": TrackingConfig,
}
"""The schema of every group."""


def register_schemas() -> None:
    """Makes the schemas known to Hydra."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=writable(RunConfig))
    for group, schema in GROUPS.items():
        store.store(group=group, name="schema", node=writable(schema))


@cache
def writable(schema: type) -> type:
    """The same schema as dataclasses that are not frozen, which alone Hydra can override."""
    hints = get_type_hints(schema)
    columns = []
    for f in fields(schema):
        kind = writable(hints[f.name]) if is_dataclass(hints[f.name]) else hints[f.name]
        default: Any = f.default
        if f.default_factory is not DATACLASS_MISSING:
            default = field(default_factory=kind if is_dataclass(kind) else f.default_factory)
        columns.append((f.name, kind, default) if default is not DATACLASS_MISSING else (f.name, kind))
    return make_dataclass(schema.__name__, columns)


def settings_from(config: DictConfig) -> RunConfig:
    """The composed settings as the packages' own (frozen) dataclasses.

    Raises:
        CampaignError: where a value is of the right type but out of range.
    """
    return _as(RunConfig, OmegaConf.to_object(config))


def _as(schema: type, made: Any) -> Any:
    hints = get_type_hints(schema)
    values = {}
    for f in fields(schema):
        value = getattr(made, f.name)
        values[f.name] = _as(hints[f.name], value) if is_dataclass(hints[f.name]) else value
    return schema(**values)
