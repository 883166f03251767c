"""Where a new campaign and a log meet: its customers, contents, days, guardrails and policy as the log's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from campaigns.audience import Catalogue, knows_channels, make_catalogue, make_population
from campaigns.campaign_contents import CampaignContents, campaign_contents
from campaigns.campaign_spec import CampaignSpec, PolicySpec
from campaigns.customer_expression import select_customers
from campaigns.errors import CampaignError, nearest
from campaigns.grid import DecisionGrid
from campaigns.guardrails import Guardrails, check_channels
from campaigns.history import HOLD
from campaigns.ids import id_keys
from campaigns.objective import LONGEST_HORIZON
from campaigns.plans import FAVOURITE, ROTATE
from campaigns.replay import history_before
from campaigns.support import narrowed
from evaluation.new_campaign import Offering
from policies.incumbent import Incumbent
from policies.policy import Policy, load_policy
from policies.rules import CapDaypartContent
from review.words import rule as told_rule
from scripts.pipeline.context import Study, load_logging_policy
from scripts.pipeline.earlier_run import Models
from scripts.pipeline.fit_stage import serving_guardrails, support_of


@dataclass(frozen=True)
class Setup:
    """A campaign on a log.

    Attributes:
        spec: the campaign.
        contents: of log and campaign.
        catalogue: the same, encoded as the run's models know contents.
        audience: whom it is for. Shape [N], bool.
        policy: decides, under the campaign's guardrails.
        decided_by: of which kind it is, in words.
        windows: when it may send: first slot and the one after the last; empty = always.
        begin: first slot of the campaign.
        slots: from there to its end.
        notes: what is to be said with the answer.
    """

    spec: CampaignSpec
    contents: CampaignContents
    catalogue: Catalogue
    audience: np.ndarray
    policy: Policy
    decided_by: str
    windows: tuple[tuple[int, int], ...]
    begin: int
    slots: int
    notes: tuple[str, ...]

    def serves(self, study: Study, rows: np.ndarray, shift: int = 0) -> Offering:
        """The campaign's policy for the customers at `rows`, who have to be asked about in this order."""
        customers = contents = None
        if self.policy.user_encoder.digest() != study.user_encoder.digest():
            people = make_population(
                study.log.users.iloc[rows], self.policy.user_encoder, self.catalogue.channels,
                study.log.clock.timezone, holdout=0.0,
            )  # fmt: skip
            customers = people.features
        if self.policy.content_encoder.digest() != study.content_encoder.digest():
            contents = torch.from_numpy(self.policy.content_encoder.encode(self.contents.table))
        offered = torch.from_numpy(self.contents.offered)
        return Offering(self.policy, offered, self.windows, shift, customers, contents)


@dataclass(frozen=True)
class Judged:
    """The customers on whom a campaign is judged.

    Attributes:
        rows: of the population: the audience in the judging half. Length N.
        column, slots: of the grid: where the judged stretch begins, and its length.
        shift: slots by which the campaign's own days begin later.
    """

    rows: np.ndarray
    column: int
    slots: int
    shift: int


def set_up(study: Study, models: Models, spec: CampaignSpec, policy_folder: str | None, run: str | None) -> Setup:
    """Puts a campaign on a log.

    Args:
        study, models: the log and what was fitted to it.
        spec: the campaign.
        policy_folder: a saved policy that decides, in place of the campaign's own.
        run: folder of the run, whose agents may decide.
    Raises:
        CampaignError: where the campaign asks for what the log or the run does not have.
    """
    if not study.has_sends:
        raise CampaignError("decisions: nothing was ever sent in this log, so it cannot say what a campaign earns.")
    try:
        contents = campaign_contents(spec, study.log.contents, study.content_encoder)
        catalogue = make_catalogue(contents.table, study.content_encoder, study.config.objective)
        if "channel_max_per_week" in spec.guardrails:
            check_channels(Guardrails(**spec.guardrails), (*catalogue.channels, *study.catalogue.channels))
    except CampaignError as error:
        raise CampaignError(f"{spec.file}: {error}") from None
    windows, begin, slots = _time(spec, study)
    policy, decided_by, notes = _policy(study, models, spec, contents, policy_folder, run)
    audience = _audience(study, spec, contents, catalogue, begin)
    return Setup(spec, contents, catalogue, audience, policy, decided_by, windows, begin, slots, tuple(notes))


def settings_of_setup(setup: Setup) -> dict[str, Any]:
    """Everything of a campaign that its answer depends on; JSON-able."""
    spec = asdict(setup.spec)
    spec.pop("file")
    return {
        "spec": spec,
        "contents": setup.contents.table.to_json(orient="records", date_format="iso"),
        "offered": setup.contents.offered.tolist(),
        "policy": setup.policy.fingerprint,
        "decided_by": setup.decided_by,
        "windows": [list(window) for window in setup.windows],
    }


# When


def _time(spec: CampaignSpec, study: Study) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """Windows in slots, the first slot, and how many there are to the end."""
    clock, first = study.log.clock, study.grid.first_slot
    if not spec.windows:
        return (), first, study.objective.slots(clock)
    began = clock.times([first])[0]
    windows = []
    for window in spec.windows:
        if window.start < began.normalize():
            raise CampaignError(
                f"{spec.file}: dates.start={window.start}: lies before the log's first day, {began:%Y-%m-%d}; "
                "nothing is "
                "known of that time. Ask about days in the log, or after it."
            )
        begin = max(clock.slot(window.start), first)
        end = clock.slot(window.end - pd.Timedelta(seconds=1)) + 1
        windows.append((begin, max(end, begin + 1)))
    slots = windows[-1][1] - windows[0][0]
    if slots * clock.slot_hours > LONGEST_HORIZON * 24:
        raise CampaignError(f"{spec.file}: dates: span more than {LONGEST_HORIZON} days; ask about fewer.")
    return tuple(windows), windows[0][0], slots


# To whom


def _audience(
    study: Study, spec: CampaignSpec, contents: CampaignContents, catalogue: Catalogue, begin: int
) -> np.ndarray:
    """Whom the campaign is for. Shape [N], bool."""
    users = study.log.users
    chosen = np.ones(len(users), dtype=bool)
    if spec.audience.where is not None:
        chosen &= select_customers(spec.audience.where, users, f"{spec.file}: audience")
    if spec.audience.customers is None:
        return chosen
    where = f"{spec.file}: audience.customers"
    keys = {str(key): row for row, key in enumerate(id_keys(users["user_id"], "users"))}
    wanted = [str(key) for key in id_keys(pd.Series(list(spec.audience.customers), name="customers"), "audience")]
    unknown = [key for key in wanted if key not in keys]
    if unknown:
        raise CampaignError(
            f"{where}: {_some(unknown)}: no such customer in users ({len(unknown)} of {len(wanted)})"
            f"{nearest(unknown[0], list(keys)[:20000])}"
        )
    named = np.array([keys[key] for key in wanted])
    channels = np.unique(catalogue.channel.numpy()[contents.offered])
    people = study.population.take(torch.from_numpy(named))
    known = history_before(
        study.grid.take(named), people, catalogue, study.log.clock, begin - study.grid.first_slot
    )  # fmt: skip
    reachable = (people.consent & ~known.opted_out)[:, channels].any(dim=1).numpy()
    if not reachable.all():
        lost = [wanted[row] for row in np.flatnonzero(~reachable)]
        raise CampaignError(
            f"{where}: {_some(lost)}: not eligible, for they gave no consent or opted out before the campaign begins "
            f"({len(lost)} of {len(wanted)}). Leave them out."
        )
    inside = np.zeros(len(users), dtype=bool)
    inside[named] = True
    if not (chosen & inside).any():
        raise CampaignError(f"{where}: none of them fulfils audience.where={spec.audience.where!r}.")
    return chosen & inside


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


# Who decides


def _policy(
    study: Study,
    models: Models,
    spec: CampaignSpec,
    contents: CampaignContents,
    policy_folder: str | None,
    run: str | None,
) -> tuple[Policy, str, list[str]]:
    """The policy under the campaign's guardrails, its kind in words, and caveats."""
    asked = PolicySpec(folder=policy_folder) if policy_folder else spec.policy
    if asked.rule is not None:
        return _rule(study, models, spec, asked, contents)
    if asked.agent is not None:
        folder, kind = _agent_folder(asked.agent, run, spec.file), f"agent {asked.agent} of the run"
        caveats = []
    elif asked.folder is not None:
        folder, kind = Path(asked.folder), "saved policy"
        caveats = [
            "The policy was given as a folder: if customers of this log taught it, it is judged on people whom "
            "it knows, "
            "and looks better than it is. Agents of a run (policy.agent) learned from one half of the customers only."
        ]
    else:
        raise CampaignError(
            f"{spec.file}: policy is missing; give a rule, an agent of the run or a folder in the file, or "
            "policy=FOLDER "
            "on the command line."
        )
    policy = load_policy(folder)
    if policy.clock != study.log.clock:
        raise CampaignError(
            f"{folder}: decides every {policy.clock.slot_hours} h of {policy.clock.timezone}, the log has slots of "
            f"{study.log.clock.slot_hours} h of {study.log.clock.timezone}; read the log alike "
            "(data.slot_hours, data.timezone)."
        )
    if knows_channels(policy.content_encoder) != study.catalogue.tells_channels:
        learned, here = ("one", "several") if study.catalogue.tells_channels else ("several", "one")
        raise CampaignError(
            f"{folder}: learned from contents on {learned} channel{'s' * (learned != 'one')}, those of this log go by "
            f"{here}, and it would be told other things of them; give a policy that was trained on such a log."
        )
    if policy.objective.outcome != study.objective.outcome:
        caveats.append(
            f"The policy was made for {policy.objective.outcome}; it is judged by {study.objective.outcome}."
        )
    rule = policy.chooser
    if isinstance(rule, CapDaypartContent):
        _check_rule_content(rule.content, contents, f"{folder}: its rule")
    guardrails = policy.guardrails
    if spec.guardrails:
        guardrails = narrowed(replace(guardrails, **spec.guardrails), support_of(models.incumbent))
    return replace(policy, guardrails=guardrails), kind, caveats


def _agent_folder(name: str, run: str | None, file: str) -> Path:
    if run is None:
        raise CampaignError(
            f"{file}: policy.agent={name}: is an agent of a run; say run=FOLDER, or give policy=FOLDER."
        )
    agents = Path(run) / "agents"
    there = sorted(p.parent.name for p in agents.glob("*/policy") if p.is_dir())
    if name not in there:
        raise CampaignError(
            f"{file}: policy.agent={name}: the run has no such agent{nearest(name, there)} It has "
            f"{', '.join(there) or 'none'}."
        )
    return agents / name / "policy"


def _rule(
    study: Study, models: Models, spec: CampaignSpec, asked: PolicySpec, contents: CampaignContents
) -> tuple[Policy, str, list[str]]:
    rule = CapDaypartContent(**(asked.rule or {}))
    _check_rule_content(rule.content, contents, f"{spec.file}: policy.rule")
    configured: Guardrails = replace(study.config.guardrails, **spec.guardrails)
    guardrails = (
        narrowed(configured, support_of(models.incumbent))
        if spec.guardrails
        else serving_guardrails(study, models.incumbent)
    )
    incumbent = Incumbent(load_logging_policy(models.incumbent.folder)) if asked.exploration else None
    policy = replace(
        study.make_policy(spec.name, rule, None, guardrails, plain=True),
        incumbent=incumbent,
        exploration=asked.exploration,
    )
    return policy, f"rule: {told_rule(asdict(rule))}", []


def _check_rule_content(content: str, contents: CampaignContents, where: str) -> None:
    names = [str(i) for i in contents.table["content_id"][contents.offered]]
    if content not in (ROTATE, FAVOURITE, *names):
        raise CampaignError(
            f"{where}: content={content!r} is none of the campaign's contents{nearest(content, names)} It may be "
            f"{', '.join([ROTATE, FAVOURITE, *names][:20])}."
        )


# Which of the log's slots


def stretch_of(setup: Setup, study: Study, most: int, least: int) -> tuple[int, int, int]:
    """The stretch of the log in which the campaign is judged.

    A campaign of days in the log is judged there. One of later days is judged in the latest stretch of the log that
    begins at the same time of the week, or of the day where the log has none of that.

    Args:
        setup, study: the campaign and its log.
        most: slots wanted.
        least: slots of a stretch that begins at the same time of the week but is cut off by the log's end; a shorter
            one is not taken.
    Returns:
        Column of its first slot, its length, and by how many slots the campaign's own begins later.
    """
    grid, clock = study.grid, study.log.clock
    if study.is_one_shot:
        return 0, 1, setup.begin - grid.first_slot if setup.windows else 0
    horizon = min(most, setup.slots, grid.slots)
    column = setup.begin - grid.first_slot
    if column < grid.slots:
        return column, min(horizon, grid.slots - column), 0
    end = labelled_slots(grid)
    last = end - horizon
    for days in (7, 1):
        period = max(1, clock.slots_in(days))
        alike = last - (last - column) % period
        if alike < 0:
            alike += period
        slots = min(horizon, end - alike)
        if slots >= min(least, horizon):
            return alike, slots, column - alike
    return 0, horizon, column


def labelled_slots(grid: DecisionGrid) -> int:
    """Slots up to the last whose outcomes are known of anybody."""
    labelled = np.flatnonzero(grid.labelled.any(axis=0))
    return int(labelled.max()) + 1 if len(labelled) else grid.slots


def logged_sends(study: Study) -> np.ndarray:
    """Sends of each of the log's contents. Shape [K], int64."""
    decision = study.grid.decision
    kept = decision[(decision > HOLD) & (decision <= len(study.catalogue))]
    return np.bincount(kept - 1, minlength=len(study.catalogue))
