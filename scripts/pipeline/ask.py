"""Asks a run's networks about customers of another table: what `scripts/predict.py` does."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from campaigns.audience import Catalogue, knows_channels, make_catalogue, make_population
from campaigns.clock import SlotClock
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.ids import id_keys
from campaigns.log_reader import read_table
from campaigns.objective import Objective
from propensity.model import PropensityModel
from propensity.prediction import predict_cold
from review.families import WITH_ARTICLE
from scripts.pipeline.context import JUDGE, TRAIN, load_model

MARKER = "inputs.json"


def predict_table(run: str, users: pd.DataFrame, content: str | None, time: str | None) -> tuple[pd.DataFrame, str]:
    """Purchase probabilities of customers without a history, in one slot.

    Args:
        run: folder of a fitted run.
        users: one row a customer, with the columns that the networks were trained on.
        content: id of the content to ask about; None for all.
        time: in the slot to ask about; None for now.
    Returns:
        One row a customer and decision: `user_id`, `content_id` (null: nothing is sent), `purchase` with `low` and
        `high`, and for contents `effect`, `effect_low` and `effect_high`. What is between low and high are the
        members of the networks of both halves of the customers, or of the one fitted to all where the run has it.
        And what is to be said with it.
    Raises:
        CampaignError: where the run, the content, the time or a column cannot be used.
    """
    folder = Path(run)
    inputs = _read_inputs(folder)
    clock = SlotClock(**inputs["clock"])
    encoder = FeatureEncoder.from_dict(inputs["user_encoder"])
    table = folder / "data" / "contents.parquet"
    if not table.is_file():
        raise CampaignError(f"run={run}: {table} is missing; run scripts/fit.py again.")
    catalogue = make_catalogue(
        read_table(table), FeatureEncoder.from_dict(inputs["content_encoder"]), Objective(**inputs["objective"])
    )
    chosen = _chosen(content, catalogue, inputs["sends"])
    people = make_population(users, encoder, catalogue.channels, clock.timezone, holdout=0.0)
    slot = clock.slot(pd.Timestamp.now(tz=clock.timezone) if time is None else time)
    models = _models(folder)
    found = predict_cold(models, people, catalogue, chosen, clock, slot)

    frames = []
    if inputs["holds"]:
        frames.append(_rows(users, None, found.held.numpy(), None))
    for place, index in enumerate(chosen):
        effect = found.effect[:, place].numpy() if inputs["holds"] else None
        frames.append(_rows(users, catalogue.ids[index], found.sent[:, place].numpy(), effect))
    frame = pd.concat(frames, ignore_index=True).sort_values("_row", kind="stable", ignore_index=True)
    kinds = [model.kind for model in models]
    return frame.drop(columns="_row"), _caveat(inputs, clock, slot, found.held.shape[1], kinds)


def _read_inputs(folder: Path) -> dict[str, Any]:
    file = folder / "propensity" / MARKER
    if not folder.is_dir():
        raise CampaignError(f"run={folder}: there is no such folder; give a run's folder.")
    if not file.is_file():
        raise CampaignError(
            f"run={folder}: no propensity/{MARKER} there; give the folder of a run of scripts/fit.py or scripts/run.py."
        )
    try:
        inputs: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        theirs = (inputs["features"]["state"], inputs["features"]["candidate"])
        told = knows_channels(FeatureEncoder.from_dict(inputs["content_encoder"]))
        if theirs != (list(STATE_FEATURES), list(candidate_names(told))):
            raise CampaignError(f"{file}: made for other features of the history; run scripts/fit.py again.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{file}: damaged ({type(error).__name__}: {error}); run scripts/fit.py again.") from None
    return inputs


def _models(folder: Path) -> list[PropensityModel]:
    """The network that was fitted to all customers, or else those of both halves."""
    for names in (("all",), (TRAIN, JUDGE)):
        parts = [folder / "propensity" / name for name in names]
        if all((part / "model.json").is_file() for part in parts):
            return [load_model(part) for part in parts]
    raise CampaignError(f"run={folder}: no networks in its folder propensity; run scripts/fit.py again.")


def _chosen(content: str | None, catalogue: Catalogue, sends: bool) -> list[int]:
    """Index of each content to ask about."""
    if not sends:
        if content is not None:
            raise CampaignError(f"content={content}: the run's log has no sends, so what a send does is not known.")
        return []
    if content is None:
        return list(range(len(catalogue)))
    keys = [str(key) for key in id_keys(pd.Series(list(catalogue.ids), name="content_id"), "contents")]
    wanted = id_keys(pd.Series([content], name="content"), "setting")[0]
    if wanted not in keys:
        near = difflib.get_close_matches(str(content), keys, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CampaignError(f"content={content}: the run's contents are {', '.join(keys[:12])}.{hint}")
    return [keys.index(wanted)]


def _rows(users: pd.DataFrame, content: object, chance: np.ndarray, effect: np.ndarray | None) -> pd.DataFrame:
    """Mean and range over the members ([N, k]), in the order of `users`."""
    nan = np.full(len(users), np.nan)
    return pd.DataFrame(
        {
            "user_id": users["user_id"].to_numpy(),
            "content_id": pd.Series([content] * len(users), dtype=object),
            "purchase": chance.mean(axis=1),
            "low": chance.min(axis=1),
            "high": chance.max(axis=1),
            "effect": nan if effect is None else effect.mean(axis=1),
            "effect_low": nan if effect is None else effect.min(axis=1),
            "effect_high": nan if effect is None else effect.max(axis=1),
            "_row": np.arange(len(users)),
        }
    )


def _caveat(inputs: Mapping[str, Any], clock: SlotClock, slot: int, members: int, kinds: list[str]) -> str:
    """What the figures are, and what they are not."""
    families = " and ".join(WITH_ARTICLE[kind] for kind in dict.fromkeys(kinds))
    begin = clock.times([slot])[0]
    said = [
        f"Probability of a purchase from the slot of {clock.slot_hours} h that begins at {begin:%Y-%m-%d %H:%M} "
        f"({clock.timezone}), of customers without a history. low and high are the least and the most of "
        f"{members} ensemble members of {families}: a range, with no coverage claimed."
    ]
    if not inputs["sends"]:
        said.append("Nothing was ever sent in the run's log: what a send does is not known.")
    elif not inputs["holds"]:
        said.append("The run's log has sends alone: what sending changes is not known.")
    elif not inputs["probabilities_logged"]:
        said.append(
            "The log does not say how likely each decision was: effect compares people who were sent something with "
            "others, and may show who was chosen rather than what sending does."
        )
    return " ".join(said)
