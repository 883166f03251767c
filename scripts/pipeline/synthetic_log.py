"""A synthetic log: a run's learned market answers its fitted incumbent, for customers who do not exist."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf

from campaigns.audience import make_population
from campaigns.encoding import RESERVED
from campaigns.errors import CampaignError
from campaigns.guardrails import NO_GUARDRAILS
from campaigns.ranges import check_range
from campaigns.replay import BINARY_OUTCOMES
from campaigns.synthetic import synthetic_users
from conf.schema import RunConfig, settings_from, writable
from envs.market import make_market
from evaluation.gate_checks import OUTCOMES
from evaluation.market_log import MarketLog, write_market_log
from policies.incumbent import Incumbent
from scripts.pipeline.context import TRAIN, Study, load_logging_policy, load_model
from scripts.pipeline.stage import Stage, StageRunner

NEEDED = ("data/users.parquet", "data/report.json", f"propensity/{TRAIN}/model.json", "propensity/incumbent/model.json")
"""What a run's folder must hold."""


def learned_log(
    run: Path,
    customers: int | None,
    days: int | None,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, pd.DataFrame]:
    """Lets a run's incumbent loose on its training market, from the first slot of its log on.

    Args:
        run: folder of an earlier run or fit.
        customers, days: of the synthetic log; as many as the run's log by default.
        seed: of customers and chance.
        folder: for what the study may write; nothing is written to `run`.
        progress: called with slots done and slots in all.
    Returns:
        `users` (drawn by `campaigns.synthetic`), `contents` (the run's own) and `decisions` with exact `action_prob`.
        What the log calls ineligible is not known to a market: every decision counts as free.
    Raises:
        CampaignError: where the run is missing, unfinished or one-shot.
    """
    study = open_finished(run, folder)
    if study.is_one_shot:
        raise CampaignError(
            f"run={run}: a log with one decision a customer has no market to simulate; use a run of a sequential log."
        )
    check_range("data.customers", customers or 1, at_least=1, unit="customers")
    people = len(study.log.users) if customers is None else customers
    slots = study.grid.slots if days is None else days * study.log.clock.slots_per_day
    users = synthetic_users(study.log.users, _columns(study), people, seed)
    clock, catalogue = study.log.clock, study.catalogue
    pool = make_population(users, study.user_encoder, catalogue.channels, clock.timezone, holdout=0.0)
    market = make_market(
        load_model(run / "propensity" / TRAIN), pool, catalogue, clock, NO_GUARDRAILS, study.grid.first_slot, slots
    )
    policy = study.make_policy(
        "incumbent", Incumbent(load_logging_policy(run / "propensity" / "incumbent")), None, NO_GUARDRAILS, plain=True
    )
    names = tuple(name for name in OUTCOMES.values() if name in study.grid.outcomes)
    written = write_market_log(
        market, policy, people, slots, seed, names, lambda done: progress(done, slots) if progress else None
    )
    contents = study.log.contents
    decisions = _decisions(
        written, users, contents, clock.times(np.arange(market.first_slot, market.first_slot + slots))
    )
    return {"users": users, "contents": contents, "decisions": decisions}


def open_finished(run: Path, folder: Path) -> Study:
    """The study of a run that was made before, from its folder alone.

    Raises:
        CampaignError: where the folder is no run's, or not far enough.
    """
    stored = run / ".hydra" / "config.yaml"
    if not stored.is_file():
        raise CampaignError(f"run={run}: no .hydra/config.yaml there; give the folder of an earlier run.")
    missing = [name for name in NEEDED if not (run / name).is_file()]
    if missing:
        raise CampaignError(
            f"run={run}: {', '.join(missing)} missing; finish it with python scripts/fit.py hydra.run.dir={run}."
        )
    content = OmegaConf.create(yaml.safe_load(stored.read_text(encoding="utf-8")))
    try:
        config = settings_from(OmegaConf.merge(OmegaConf.structured(writable(RunConfig)), content))
    except Exception as error:
        raise CampaignError(f"run={run}: its settings cannot be read by this version ({error}).") from None
    return Study(config, StageRunner(folder, folder), Stage("data", "", run / "data"))


def _columns(study: Study) -> list[str]:
    """Columns of `users` that a model or a clock reads."""
    features = {column.name for column in study.user_encoder.columns}
    return [
        str(name)
        for name in study.log.users.columns
        if name in features or name == "timezone" or (str(name).startswith("consent_") and name not in RESERVED)
    ]


def _decisions(log: MarketLog, users: pd.DataFrame, contents: pd.DataFrame, times: pd.DatetimeIndex) -> pd.DataFrame:
    """One row a customer and slot, customers in order."""
    grid = log.grid
    names = np.array([None, *contents["content_id"]], dtype=object)
    decisions = pd.DataFrame(
        {
            "user_id": users["user_id"].repeat(grid.slots).to_numpy(),
            "time": np.tile(times.to_numpy(), len(users)),
            "content_id": names[grid.decision.ravel()],
            "action_prob": grid.action_prob.ravel().astype(np.float64),
        }
    )
    for name, values in grid.outcomes.items():
        flat = values.ravel()
        decisions[name] = flat > 0 if name in BINARY_OUTCOMES else np.round(flat.astype(np.float64), 2)
    return decisions
