"""What the stages of one run share: settings, and the log as tensors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from agents.panel import AGENTS
from campaigns.audience import Catalogue, Population, groups_of, held_out, make_catalogue, make_population
from campaigns.datasets import FIT_ONLY
from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.grid import DecisionGrid, make_grid
from campaigns.guardrails import Guardrails, check_channels
from campaigns.history import ABSENT, HOLD, History
from campaigns.ids import id_keys
from campaigns.logging_policy import LoggingPolicyModel
from campaigns.logs import CampaignLog, LogSettings, read_log
from campaigns.objective import Objective
from campaigns.replay import BINARY_OUTCOMES, DecisionRows, decision_rows, history_before
from campaigns.text import TEXTS
from conf.schema import GATES, MARKETS, SOURCES, SPLITS, DataConfig, RunConfig
from evaluation.limits import limits_of
from policies.chooser import Chooser
from policies.policy import MODES, Policy
from propensity.fit_settings import check_kind
from propensity.kinds import restore_model
from propensity.model import PropensityModel
from scripts.pipeline.stage import Stage, StageRunner, write_json

if TYPE_CHECKING:
    from scripts.pipeline.previous_run import PreviousRun

TRAIN, JUDGE = "train", "judge"
"""Halves of the customers: agents learn in the worlds of the first and are judged in those of the second."""


REFERENCE = DataConfig(source="reference")
"""What the settings of the reference market are where nobody names them."""


@dataclass
class Study:
    """One run: its settings and its log.

    Attributes:
        config: the settings.
        runner: of its stages.
        data: the finished data stage.
    """

    config: RunConfig
    runner: StageRunner
    data: Stage

    @cached_property
    def log(self) -> CampaignLog:
        """The log, as the data stage left it."""
        settings = replace(log_settings(self.config), holds=self.config.data.holds, max_rejected=1.0)
        tables = read_log(self.data.folder, settings, self.config.objective.margin_rate)
        report = json.loads((self.data.folder / "report.json").read_text(encoding="utf-8"))
        return replace(tables, report=report)

    @cached_property
    def grid(self) -> DecisionGrid:
        """The log on the decision grid."""
        return make_grid(self.log)

    @cached_property
    def rows(self) -> DecisionRows:
        """The log's labelled decisions with the states in which they were taken; kept, since every fit reads them."""
        return decision_rows(
            self.grid, self.population, self.catalogue, self.log.clock, self.hold_share, self.config.seed
        )

    @property
    def hold_share(self) -> float:
        """Share of the uneventful holds that is kept.

        Where each customer is decided on once, holds are no more frequent than people, and a hold left out would be a
        customer left out.
        """
        return 1.0 if self.is_one_shot else self.config.propensity.hold_share

    @property
    def is_one_shot(self) -> bool:
        """Whether every customer is decided on once: then there is no market and no sequential agent."""
        return self.grid.is_one_shot

    @cached_property
    def has_sends(self) -> bool:
        """Whether anything was ever sent."""
        return bool((self.grid.decision > HOLD).any())

    @cached_property
    def has_holds(self) -> bool:
        """Whether nothing being sent was ever logged."""
        return bool((self.grid.decision == HOLD).any())

    @property
    def can_decide(self) -> bool:
        """Whether a policy can be learned: there are sends, and holds too unless each customer is decided on once."""
        return self.config.data.source not in FIT_ONLY and self.has_sends and (self.has_holds or self.is_one_shot)

    @property
    def has_market(self) -> bool:
        """Whether there are worlds to learn and to judge in: not where each customer is decided on once."""
        return self.can_decide and not self.is_one_shot

    def family(self, half: str) -> str:
        """The family of models that is fitted to a half of the customers, or to all."""
        kind = self.config.market.judge_kind
        return kind if half == JUDGE and kind is not None and self.has_market else self.config.propensity.kind

    @cached_property
    def halves(self) -> dict[str, np.ndarray]:
        """Rows of the customers of each half; those who share a `group_id` are in the same one.

        Whom a previous run knew stays in its half, so that nothing is judged on those whom it learned from.
        """
        users = self.log.users
        units = groups_of(users) if "group_id" in users.columns else np.arange(len(users))
        order = np.random.default_rng([self.config.seed, 17]).permutation(int(units.max()) + 1)
        middle = (len(order) + 1) // 2
        trains = np.isin(np.arange(len(order)), order[:middle])
        if self.previous is not None:
            known = [self.previous.halves.get(key) for key in id_keys(users["user_id"], "users")]
            for half in (JUDGE, TRAIN):
                trains[units[[name == half for name in known]]] = half == TRAIN
        train = trains[units]
        return {TRAIN: np.flatnonzero(train), JUDGE: np.flatnonzero(~train if len(order) > 1 else train)}

    @cached_property
    def previous(self) -> PreviousRun | None:
        """The run that this one goes on from; None where it starts anew."""
        from scripts.pipeline.previous_run import KEPT, read_previous

        kept = self.data.folder / KEPT
        return read_previous(kept) if kept.is_dir() else None

    @cached_property
    def start_column(self) -> int:
        """The grid's column in which worlds begin and estimates from the log: the first of what came since a previous
        run, else of the log."""
        joined = self.log.report.get("joined")
        return 0 if joined is None else int(joined["first_slot"]) - self.grid.first_slot

    def players(self, half: str) -> np.ndarray:
        """Rows of a half's customers, or of `all`, in worlds and estimates.

        After a previous run: those who were decided on since, the ones that its policy held out left aside.
        """
        rows = np.arange(len(self.log.users)) if half == "all" else self.halves[half]
        if self.previous is None:
            return rows
        there = (self.grid.decision[:, self.start_column :] != ABSENT).any(axis=1)
        if self.previous.served:
            there &= ~held_out(list(self.log.users["user_id"]), self.previous.policy.guardrails.holdout)
        return rows[there[rows]]

    def start_histories(self, rows: np.ndarray) -> History | None:
        """What was known of the customers at `rows` before `start_column`; None where that is nothing."""
        return None if self._histories is None else self._histories.take(torch.from_numpy(rows))

    @cached_property
    def _histories(self) -> History | None:
        if self.start_column == 0:
            return None
        return history_before(self.grid, self.population, self.catalogue, self.log.clock, self.start_column)

    @cached_property
    def user_encoder(self) -> FeatureEncoder:
        """Fitted on the training half alone, by a previous run where there is one."""
        if self.previous is not None:
            return self.previous.user_encoder
        return fit_encoder(self.log.users.iloc[self.halves[TRAIN]], "users", text=self.config.data.text)

    @cached_property
    def content_encoder(self) -> FeatureEncoder:
        """Fitted on the log's contents, which are a previous run's."""
        if self.previous is not None:
            return self.previous.content_encoder
        return fit_encoder(self.log.contents, "contents", text=self.config.data.text)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The log's contents."""
        catalogue = make_catalogue(self.log.contents, self.content_encoder, self.config.objective)
        check_channels(self.config.guardrails, catalogue.channels)
        return catalogue

    @cached_property
    def population(self) -> Population:
        """The log's customers, nobody held out."""
        return make_population(
            self.log.users, self.user_encoder, self.catalogue.channels, self.log.clock.timezone, holdout=0.0
        )

    @property
    def objective(self) -> Objective:
        """What counts. A one-shot campaign's horizon is its one slot."""
        if not self.is_one_shot:
            return self.config.objective
        return replace(self.config.objective, horizon_days=max(1, self.log.clock.slot_hours // 24))

    @property
    def device(self) -> torch.device:
        """Where training happens."""
        wanted = self.config.device
        if wanted == "auto":
            wanted = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(wanted)

    def make_policy(
        self, name: str, chooser: Chooser, incumbent: Chooser | None, guardrails: Guardrails, plain: bool = False
    ) -> Policy:
        """A policy that serves within `guardrails`; rules and incumbent (`plain`) explore nothing."""
        return Policy(
            name=name,
            chooser=chooser,
            incumbent=None if plain else incumbent,
            user_encoder=self.user_encoder,
            content_encoder=self.content_encoder,
            guardrails=guardrails,
            objective=self.objective,
            clock=self.log.clock,
            mode="sampled" if plain else self.config.policy.mode,
            exploration=0.0 if plain else self.config.policy.exploration,
            seed=self.config.seed,
            attribution_hours=self.log.settings.attribution_hours,
            lineage={"data": self.data.key},
        )


def log_settings(config: RunConfig) -> LogSettings:
    """How the configured log is read."""
    data = config.data
    return LogSettings(data.path, data.holds, data.slot_hours, data.timezone, data.attribution_hours, data.max_rejected)


def agent_names(config: RunConfig) -> list[str]:
    """The agents to train: the panel, or else those of the agent group."""
    return list(config.panel if config.panel is not None else config.agent.names)


def check_config(config: RunConfig, policies: bool = True) -> None:
    """Checks settings that no type can.

    Args:
        config: the settings.
        policies: whether policies are to be learned, not purchase probabilities alone.
    Raises:
        CampaignError: naming the setting, what was got and what it may be.
    """
    agents = agent_names(config)
    choices = {
        "data.source": (config.data.source, SOURCES),
        "data.split": (config.data.split, SPLITS),
        "data.text": (config.data.text, TEXTS),
        "market.gate": (config.market.gate, GATES),
        "policy.mode": (config.policy.mode, MODES),
        "device": (config.device, ("auto", "cpu", "cuda")),
        "tracking.kind": (config.tracking.kind, ("local",)),
        "market.source": (config.market.source, MARKETS),
        **{f"panel[{i}]": (name, AGENTS) for i, name in enumerate(agents)},
    }
    for setting, (value, allowed) in choices.items():
        if value not in allowed:
            raise CampaignError(f"{setting}={value}: must be one of {', '.join(allowed)}.")
    if config.market.judge_kind is not None:
        check_kind("market.judge_kind", config.market.judge_kind)
    if policies and config.data.source in FIT_ONLY:
        source = config.data.source
        raise CampaignError(
            f"data={source}: {FIT_ONLY[source]}, so no policy can be learned from it; purchase probabilities can: "
            f"scripts/fit.py data={source}."
        )
    if config.market.source == "reference" and config.data.source != "reference":
        raise CampaignError(
            f"market=reference, data={config.data.source}: only the reference market has a truth to learn in; use "
            "market=learned, or data=reference."
        )
    if config.device == "cuda" and not torch.cuda.is_available():
        raise CampaignError("device=cuda: this machine has no usable GPU; use device=auto or cpu.")
    if not 0 <= config.policy.exploration < 1:
        raise CampaignError(f"policy.exploration={config.policy.exploration}: must be a share from 0 to below 1.")
    if config.data.source == "reference" and (config.data.customers < 50 or config.data.days < 2):
        raise CampaignError(
            f"data.customers={config.data.customers}, data.days={config.data.days}: a log needs at least 50 customers "
            "and 2 days."
        )
    if config.data.source == "reference":
        from envs.reference.channels import check_channel_names

        check_channel_names(config.data.channels)
        check_channels(config.guardrails, config.data.channels)
    _refuse_reference_settings(config.data)
    if config.data.source == "log" and not config.data.path:
        raise CampaignError("data.path is empty: give the folder of your log, data=log data.path=FOLDER.")
    for setting in ("support", "thin"):
        quantile = getattr(config.market, setting)
        if not 0.5 <= quantile <= 1:
            raise CampaignError(f"market.{setting}={quantile}: must be a quantile from 0.5 to 1.")


def _refuse_reference_settings(data: DataConfig) -> None:
    """Refuses settings of the reference market's world that nothing would read with other data.

    Raises:
        CampaignError: naming the setting.
    """
    settings = () if data.source == "reference" else ("variant", "channels", "exploration")
    for setting in settings:
        if getattr(data, setting) != getattr(REFERENCE, setting):
            raise CampaignError(
                f"data.{setting}={getattr(data, setting)}: data=reference alone reads it, so that data={data.source} "
                "would go on as if it were not there; leave it out."
            )


def check_log(study: Study, policies: bool = True) -> None:
    """Checks that the log can answer what the settings ask.

    Args:
        study: the run.
        policies: whether policies are to be learned, not purchase probabilities alone.
    Raises:
        CampaignError: naming what is missing.
    """
    check_split(study)
    if study.previous is not None and study.grid.slots - study.start_column == 1:
        raise CampaignError(
            "decisions: the new log has one decision a customer; previous= goes on from logs with several. Join the "
            "tables and run anew."
        )
    if len(study.log.users) < 20:
        raise CampaignError(
            f"users: {len(study.log.users)} customers are too few to learn from and to judge on others; at least 20."
        )
    if not policies:
        if not any(name in study.grid.outcomes for name in BINARY_OUTCOMES):
            raise CampaignError(
                f"decisions: none of the outcomes {', '.join(BINARY_OUTCOMES)} is there to fit, or none has a value in "
                "any row; log at least one."
            )
        return
    outcome = study.config.objective.outcome
    if outcome not in study.grid.outcomes:
        there = ", ".join(n for n in study.grid.outcomes) or "none"
        raise CampaignError(f"objective.outcome={outcome}: the decisions table has no such column; it has {there}.")
    if not study.has_sends:
        raise CampaignError(
            "decisions: nothing was ever sent; what a send does cannot be learned from this log. How likely customers "
            "buy can: scripts/fit.py with the same settings."
        )
    if not study.has_holds and not study.is_one_shot:
        raise CampaignError(
            "decisions: there is no hold row, so when to send cannot be learned. If absent rows are holds, say "
            "data.holds=implied; if only sends were logged, evaluate contents as a one-shot campaign, or let "
            "scripts/fit.py fit what sends bring."
        )
    limits = limits_of(study.config.objective)
    if limits and study.is_one_shot:
        raise CampaignError(
            f"objective.{limits[0].name}={limits[0].most:g}: this log decides once on every customer, so there is no "
            f"market in which a policy could be made to keep to it; say objective.{limits[0].name}=null."
        )
    if study.config.objective.budget and not bool((study.catalogue.cost > 0).any()):
        raise CampaignError(
            f"objective.budget={study.config.objective.budget:g}: no content costs anything, so it limits nothing; "
            "give contents.cost or objective.send_cost, or say objective.budget=null."
        )
    if study.config.objective.outcome in BINARY_OUTCOMES and not np.nansum(study.grid.outcomes[outcome]):
        raise CampaignError(f"objective.outcome={outcome}: it never happened in this log; choose another objective.")


def check_split(study: Study) -> None:
    """Checks that networks are judged on customers, groups or times that they have not seen.

    Raises:
        CampaignError: where a split by row would put one person on both sides, or the log lacks what it is split by.
    """
    split, grouped = study.config.data.split, "group_id" in study.log.users.columns
    if split == "group" and not grouped:
        raise CampaignError("data.split=group: users has no column group_id; add it, or say data.split=customer.")
    if split == "time" and study.grid.slots < 4:
        raise CampaignError(
            f"data.split=time: the log has {study.grid.slots} slot(s), so there is no later time to judge on; "
            "say data.split=customer."
        )
    if split == "row" and (grouped or (study.grid.decision != ABSENT).sum(axis=1).max() > 1):
        who = "customers who share a group_id" if grouped else "customers with several decisions"
        raise CampaignError(
            f"data.split=row is refused: {who} would be on both sides, and the network would be judged on people whom "
            "it knows. By row the in-vehicle coupons look like an AUC of .82, by respondent it is .76. "
            f"Say data.split={'group' if grouped else 'customer'}."
        )


def save_model(model: PropensityModel | LoggingPolicyModel, folder: Path) -> None:
    """Writes a model as JSON and safetensors."""
    tensors = model.tensors() if isinstance(model, PropensityModel) else model.state_dict()
    save_file({k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}, folder / "weights.safetensors")
    write_json(folder / "model.json", model.settings())


def load_model(folder: Path) -> PropensityModel:
    """Reads a propensity model of any family."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return restore_model(settings, load_file(folder / "weights.safetensors"))


def load_logging_policy(folder: Path) -> LoggingPolicyModel:
    """Reads a fitted logging policy."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return LoggingPolicyModel.restore(settings, load_file(folder / "weights.safetensors"))


def halves_of(study: Study) -> pd.DataFrame:
    """Which half each customer is in, for a run that goes on from this one: `user_id` and `half`."""
    half = np.empty(len(study.log.users), dtype=object)
    for name in (JUDGE, TRAIN):
        half[study.halves[name]] = name
    return pd.DataFrame({"user_id": study.log.users["user_id"], "half": half})


def inputs_of(study: Study) -> dict[str, Any]:
    """What it takes to ask the run's networks about customers of another table; JSON-able."""
    known = np.isfinite(study.grid.action_prob) | (study.grid.decision == ABSENT)
    return {
        "schema_version": 1,
        "features": {"state": list(STATE_FEATURES), "candidate": list(candidate_names(study.catalogue.tells_channels))},
        "user_encoder": study.user_encoder.to_dict(),
        "content_encoder": study.content_encoder.to_dict(),
        "clock": asdict(study.log.clock),
        "objective": asdict(study.objective),
        "sends": study.has_sends,
        "holds": study.has_holds,
        "probabilities_logged": bool(known.all()),
    }


def content_categories(study: Study) -> list[str]:
    """Names of the contents' categorical attributes."""
    return [c.name for c in study.content_encoder.columns if c.kind == "category" and c.name != "content_id"]


def settings_of(part: Any) -> dict[str, Any]:
    """A settings dataclass as JSON."""
    return asdict(part)
