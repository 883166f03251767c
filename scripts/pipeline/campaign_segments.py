"""The groups of customers by which a campaign's answer is split: a column's, or those of the customer profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from campaigns.campaign_spec import CampaignSpec
from campaigns.column_groups import MOST_LEVELS, column_groups
from campaigns.errors import CampaignError, nearest
from propensity.profiles import answers, find_segments, typical_moments
from propensity.rules import own_table
from scripts.pipeline.campaign_setup import logged_sends
from scripts.pipeline.context import TRAIN, Study, load_model
from scripts.pipeline.profile_stage import outcome_of
from scripts.pipeline.stage import Stage


@dataclass(frozen=True)
class Segments:
    """Groups of customers.

    Attributes:
        code: index into `labels`, -1 for none. Shape [N], int64.
        labels: what a group's customers have in common.
        by: what they are split by.
    """

    code: np.ndarray
    labels: tuple[str, ...]
    by: str


def customer_segments(study: Study, network: Stage, spec: CampaignSpec) -> Segments:
    """The groups of the column that a campaign names, or the kinds of customers that the network tells apart.

    Args:
        study: the log.
        network: of the training half, among whose customers kinds are found.
        spec: the campaign.
    Raises:
        CampaignError: where the column is not there, or does not split customers into few groups.
    """
    return _profiled(study, network) if spec.segments is None else _of_column(study, spec.segments, spec.file)


def _of_column(study: Study, column: str, file: str) -> Segments:
    users = study.log.users
    names = [str(name) for name in users.columns]
    if column not in names:
        raise CampaignError(
            f"{file}: segments={column}: users has no such column{nearest(column, names)} It has {', '.join(names)}."
        )
    groups = column_groups(users[column])
    if groups is None:
        raise CampaignError(f"{file}: segments={column}: does not split customers into 2 to {MOST_LEVELS} groups.")
    labels = tuple(f"{column} = {level}" for level in groups.cat.categories)
    return Segments(groups.cat.codes.to_numpy(dtype=np.int64), labels, column)


def _profiled(study: Study, network: Stage) -> Segments:
    seed, encoder, mine = study.config.seed, study.user_encoder, study.halves[TRAIN]
    learned = study.population.take(torch.from_numpy(mine))
    moments = typical_moments(study.grid.take(mine), learned, study.catalogue, study.log.clock, seed)
    asked = (moments, study.catalogue, logged_sends(study), outcome_of(study))
    said = answers(load_model(network.folder), learned.features, *asked)
    tree = find_segments(said.values, learned.features.numpy(), encoder, seed).tree
    rules = tree.rules()
    place = {group: index for index, group in enumerate(sorted(rules))}
    named = tree.assign(own_table(study.population.features.numpy(), encoder, tree.columns))
    return Segments(np.array([place[group] for group in named]), tuple(rules[group] for group in place), "profiles")
