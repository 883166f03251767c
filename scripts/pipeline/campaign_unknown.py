"""What of a new campaign its log has never seen, and who decided in that log."""

from __future__ import annotations

import numpy as np
import torch

from campaigns.features import daypart_of
from campaigns.observation import make_calendar
from evaluation.new_campaign import AsLogged, Unknown, sends_by_daypart
from scripts.pipeline.campaign_setup import Judged, Setup, logged_sends
from scripts.pipeline.context import Study
from scripts.pipeline.earlier_run import Models
from scripts.pipeline.fit_stage import offline_logger


def logger_of(models: Models, setup: Setup) -> AsLogged:
    """Who decided so far, as fitted, among the log's own contents."""
    return AsLogged(offline_logger(models.incumbent), torch.from_numpy(~setup.contents.is_new))


def unknown_of(study: Study, setup: Setup, judged: Judged, unseen: dict[int, list[str]]) -> Unknown:
    """Contents, attribute values and parts of the day that no send ever had.

    Args:
        study: the log.
        setup: the campaign.
        judged: customers and slots.
        unseen: attribute values that no send ever had, by content.
    """
    grid = study.grid
    everywhere = _dayparts(study, study.population.zone, grid.first_slot, grid.slots)
    new = setup.contents.is_new.copy()
    new[: setup.contents.logged] = logged_sends(study) == 0
    strange = np.zeros(len(new), dtype=bool)
    strange[list(unseen)] = True
    silent = sends_by_daypart(grid.decision, everywhere) == 0
    if study.is_one_shot:  # everything was sent in one slot: no time of the day was chosen
        silent[:] = False
    zone = study.population.zone[torch.from_numpy(judged.rows)]
    return Unknown(new, strange, _dayparts(study, zone, grid.first_slot + judged.column, judged.slots), silent)


def _dayparts(study: Study, zone: torch.Tensor, first_slot: int, slots: int) -> np.ndarray:
    """Of each slot, on the customers' own clocks. Shape [N, slots], int64."""
    calendar = make_calendar(study.log.clock, study.population.zones, first_slot, slots)
    return daypart_of(calendar.minute).numpy()[zone.numpy()]
