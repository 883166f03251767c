"""What a campaign that never ran would have earned in the log's own slots, and how much of that the log cannot say.

Estimates come from `evaluation.offline.evaluate_offline`. Here stands what a new campaign adds: contents that were
never sent, attribute values that never occurred, times at which nothing was sent; and its value by segment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from campaigns.clock import DAYPARTS
from campaigns.guardrails import NO_GUARDRAILS, allowed_decisions
from campaigns.history import HOLD
from campaigns.observation import Observation
from evaluation.intervals import Interval
from evaluation.logged_slots import LoggedSlots
from evaluation.offline import LogsDecisions, evaluate_offline
from evaluation.offline_settings import OfflineSettings
from evaluation.segments import LEAST_CUSTOMERS
from evaluation.verdict import UNSUPPORTED_TOLERANCE, Verdict, judge
from policies.following import Decides

CAMPAIGN = "campaign"
"""Its name among the policies that are asked."""

LEAST_SENDS = 1e-9
"""Sends a decision below which a campaign sends nothing."""


@dataclass(frozen=True)
class Offering:
    """A policy that may send some contents only, and at some times only.

    Attributes:
        policy: what decides; it sees as allowed what is offered.
        offered: contents that may be sent. Shape [K], bool.
        windows: slots in which it may send, as pairs of the first and the one after the last; always where empty.
        shift: added to an observation's slot before windows are looked at: where a campaign of later days is asked
            about the log's days.
        customers, contents: features as the policy's own encoders make them, where they are not the observation's;
            customers are those of the observation, in its order. Shapes [N, Fu] and [K, Fx].
    """

    policy: Decides
    offered: Tensor
    windows: tuple[tuple[int, int], ...] = ()
    shift: int = 0
    customers: Tensor | None = None
    contents: Tensor | None = None

    @property
    def carries(self) -> bool:
        """Whether the policy carries anything from slot to slot; see `policies.following`."""
        return bool(getattr(self.policy, "carries", False))

    def carry(self, observation: Observation) -> Tensor:
        """What the policy carries from this slot on."""
        carried: Tensor = self.policy.carry(self._offered(observation))  # type: ignore[attr-defined] # it carries
        return carried

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Shape [N, 1 + K], rows sum to 1."""
        return self.policy.probabilities_of(self._offered(observation))

    def _offered(self, observation: Observation) -> Observation:
        """The observation as the policy sees it."""
        open_ = self.offered.expand(len(observation), -1)
        if self.windows:
            slot = observation.slot + self.shift
            inside = torch.zeros_like(slot, dtype=torch.bool)
            for begin, end in self.windows:
                inside |= (slot >= begin) & (slot < end)
            open_ = open_ & inside.unsqueeze(1)
        allowed = observation.allowed & torch.cat([torch.ones_like(open_[:, :1]), open_], dim=1)
        seen = replace(observation, allowed=allowed)
        for name in ("state", "candidates"):  # they depend neither on what is allowed nor on the encoders
            if name in vars(observation):
                vars(seen)[name] = vars(observation)[name]
        if self.customers is not None:
            seen = replace(seen, population=replace(seen.population, features=self.customers))
        if self.contents is not None:
            seen = replace(seen, catalogue=replace(seen.catalogue, features=self.contents))
        return seen


@dataclass(frozen=True)
class AsLogged:
    """What was done so far, as the log was made: with its own contents, under consent and opt-outs alone.

    Attributes:
        logging_policy: fitted; its probabilities of what is masked are 0.
        logged: contents of the log. Shape [K], bool.
    """

    logging_policy: LogsDecisions
    logged: Tensor

    def probabilities(self, observation: Observation) -> Tensor:
        """Within what the observation allows. Shape [N, 1 + K], rows sum to 1."""
        open_ = torch.cat([self.logged.new_ones(1), self.logged])
        return self.logging_policy.probabilities(replace(observation, allowed=observation.allowed & open_))

    def probabilities_of(self, observation: Observation) -> Tensor:
        """Whatever guardrails the observation is under: they did not bind what was logged."""
        seen = observation
        allowed = allowed_decisions(
            NO_GUARDRAILS, seen.history, seen.slot, seen.minute, seen.population, seen.catalogue, seen.clock
        )
        return self.probabilities(replace(seen, allowed=allowed))


@dataclass(frozen=True)
class Unknown:
    """What of a campaign the log has never seen.

    Attributes:
        new: contents that were never sent. Shape [K], bool.
        unseen: contents with an attribute value that no send ever had. Shape [K], bool.
        daypart: of each evaluated slot, on the customer's own clock. Shape [N, H], int64.
        silent: dayparts in which nothing was ever sent. Shape [4], bool.
    """

    new: np.ndarray
    unseen: np.ndarray
    daypart: np.ndarray
    silent: np.ndarray

    def take(self, rows: np.ndarray) -> Unknown:
        """The customers at `rows`."""
        return replace(self, daypart=self.daypart[rows])


def unknown_shares(target: np.ndarray, predicted: np.ndarray, known: np.ndarray, unknown: Unknown) -> dict[str, Any]:
    """Which share of a campaign's sends, and of what it gains by them, rests on what was never logged.

    Args:
        target: the campaign's probabilities in H slots of N customers. Shape [N, H, 1 + K].
        predicted: expected rewards. Shape [N, H, 1 + K].
        known: slots that count. Shape [N, H], bool.
        unknown: of the same customers and slots.
    Returns:
        `sends_per_decision`; and by `new_contents`, `unseen_values`, `silent_dayparts`, `not_identifiable` (either of
        the two before) and `unlogged` (any): `share_of_sends` and `share_of_gain`, the latter of the predicted gain
        over holding; None where there are no sends, or no gain.
    """
    sends = np.where(known[..., None], target, 0.0)[..., 1:]
    gain = sends * (predicted[..., 1:] - predicted[..., :1])
    total, earned = sends.sum(), gain.sum()
    silent = unknown.silent[unknown.daypart][..., None]
    parts = {
        "new_contents": unknown.new[None, None] & np.ones_like(silent),
        "unseen_values": unknown.unseen[None, None] & np.ones_like(silent),
        "silent_dayparts": silent & np.ones_like(unknown.new)[None, None],
    }
    parts["not_identifiable"] = parts["unseen_values"] | parts["silent_dayparts"]
    parts["unlogged"] = parts["not_identifiable"] | parts["new_contents"]
    decisions = float(known.sum())
    shares: dict[str, Any] = {"sends_per_decision": float(total / decisions) if decisions else 0.0}
    for name, mask in parts.items():
        shares[name] = {
            "share_of_sends": float(sends[mask].sum() / total) if total > LEAST_SENDS * decisions else None,
            "share_of_gain": float(gain[mask].sum() / earned) if earned > 0 else None,
        }
    return shares


def campaign_report(
    slots: LoggedSlots,
    unknown: Unknown,
    names: Sequence[str],
    unseen_words: Sequence[str],
    settings: OfflineSettings,
    seed: int,
) -> dict[str, Any]:
    """Estimate, diagnostics and verdict of the campaign, with what rests on things never logged.

    Args:
        slots: with `CAMPAIGN` among their policies.
        unknown: of the same customers and slots.
        names: of the K contents.
        unseen_words: attribute values that no send ever had, for the sentence.
        settings, seed: of the bootstrap.
    Returns:
        `offline`: as `evaluate_offline` gives it, or None with an `offline_reason`; `prediction`: what the reward model
        alone says where the estimate is withheld; `unlogged`: see `unknown_shares`; `verdict` and `sentence`.
    """
    shares = unknown_shares(slots.target[CAMPAIGN], slots.predicted, slots.known, unknown)
    only = replace(slots, target={CAMPAIGN: slots.target[CAMPAIGN]})
    found = evaluate_offline(only, settings, seed).get(CAMPAIGN) if slots.known[:, 0].any() else None
    report: dict[str, Any] = {"offline": found, "offline_reason": None, "prediction": None, "unlogged": shares}
    if found is None:
        word = Verdict("cannot tell", "None of these customers has a labelled decision in the evaluated slots.")
        return report | {"offline_reason": word.sentence, "verdict": word.word, "sentence": word.sentence}
    word = _verdict(found, shares, slots, unknown, names, unseen_words, settings.level)
    unlogged = shares["unlogged"]["share_of_sends"]
    if unlogged is not None and unlogged > UNSUPPORTED_TOLERANCE:
        # An interval would hold chance alone, not the error of a model that no logged decision corrects.
        report["prediction"] = _predicted(slots)
        found = found | {"value": None, "low": None, "high": None, "difference": None, "blend": 0.0}
        report["offline"] = found | {"verdict": word.word}
    return report | {"verdict": word.word, "sentence": word.sentence}


def _predicted(slots: LoggedSlots) -> float:
    """What the reward model alone says the campaign earns, in the states that were logged."""
    earned = (slots.target[CAMPAIGN] * slots.predicted).sum(axis=2)
    return float(np.where(slots.known, earned, 0.0)[slots.known[:, 0]].sum(axis=1).mean())


def _verdict(
    found: Mapping[str, Any],
    shares: Mapping[str, Any],
    slots: LoggedSlots,
    unknown: Unknown,
    names: Sequence[str],
    unseen_words: Sequence[str],
    level: float,
) -> Verdict:
    def above(name: str) -> float | None:
        share: float | None = shares[name]["share_of_sends"]
        return share if share is not None and share > UNSUPPORTED_TOLERANCE else None

    if above("not_identifiable") is not None:
        why = []
        if above("unseen_values") is not None:
            why.append(f"attribute values that no send ever had ({'; '.join(unseen_words[:6])})")
        if above("silent_dayparts") is not None:
            parts = [part for part, silent in zip(DAYPARTS, unknown.silent, strict=True) if silent]
            why.append(f"times of the day at which nothing was ever sent ({', '.join(parts)})")
        if not why:
            why.append("attribute values or times that were never logged")
        return Verdict(
            "not identifiable",
            f"{above('not_identifiable'):.0%} of the campaign's sends rest on {' and '.join(why)}: this log cannot "
            "say what they earn. Send some of them at random first.",
        )
    if (share := above("new_contents")) is not None:
        sends = np.where(slots.known[..., None], slots.target[CAMPAIGN], 0.0).sum(axis=(0, 1))[1:]
        most = [str(names[i]) for i in np.argsort(-sends * unknown.new, kind="stable")[:3] if unknown.new[i]]
        return Verdict(
            "cannot tell",
            f"{share:.0%} of the campaign's sends are contents that were never sent ({', '.join(most)}). Others "
            "had all "
            "their attribute values, so that the models can predict them, but no logged decision corrects the "
            "prediction. Send them to some customers at random first.",
        )
    refused = (found.get("diagnostics") or {}).get("refused")
    if refused and found["verdict"] != "not identifiable":
        return Verdict(found["verdict"], refused)
    difference = found["difference"]
    between = (
        None if difference is None else Interval(difference["value"], difference["low"], difference["high"], level)
    )
    told = judge(between, None, "the campaign", "what was done")
    if told.word == found["verdict"]:
        return Verdict(told.word, told.sentence[:1].upper() + told.sentence[1:])
    unsupported = (found.get("diagnostics") or {}).get("unsupported")
    why_not = "" if unsupported is None else f"{unsupported:.0%} of what it would decide was hardly ever logged. "
    return Verdict(found["verdict"], f"{why_not}This log cannot say what the campaign earns.")


def by_segment(
    slots: LoggedSlots,
    unknown: Unknown,
    segment: np.ndarray,
    labels: Sequence[str],
    names: Sequence[str],
    unseen_words: Sequence[str],
    settings: OfflineSettings,
    seed: int,
) -> tuple[list[dict[str, Any]], int]:
    """The same report for each group of customers.

    Args:
        slots, unknown: of N customers.
        segment: index into `labels`, -1 for none. Shape [N], int64.
        labels: of the segments.
        names, unseen_words, settings, seed: as for `campaign_report`.
    Returns:
        Reports with `segment` and `customers`, and how many segments of fewer than LEAST_CUSTOMERS were left out.
    """
    rows, suppressed = [], 0
    for code, label in enumerate(labels):
        inside = np.flatnonzero(segment == code)
        if len(inside) < LEAST_CUSTOMERS:
            suppressed += int(len(inside) > 0)
            continue
        report = campaign_report(slots.take(inside), unknown.take(inside), names, unseen_words, settings, seed)
        rows.append({"segment": label, "customers": len(inside), **report})
    return rows, suppressed


def market_answer(campaign: np.ndarray, incumbent: np.ndarray) -> dict[str, float]:
    """A world's own answer: mean values a customer and their difference; the same customers met the same chances.

    Args:
        campaign, incumbent: values. Shape [N] each.
    """
    return {
        "customers": len(campaign),
        "campaign": float(campaign.mean()),
        "incumbent": float(incumbent.mean()),
        "difference": float((campaign - incumbent).mean()),
    }


def across(worlds: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Least and most over the worlds of each of their answers: a range, of which no coverage is claimed."""
    return {
        name: {"low": min(world[name] for world in worlds.values()), "high": max(w[name] for w in worlds.values())}
        for name in ("campaign", "incumbent", "difference")
    }


def sends_by_daypart(decision: np.ndarray, daypart: np.ndarray) -> np.ndarray:
    """Logged sends in each daypart. `decision` and `daypart` have shape [N, T]; returns int64, shape [4]."""
    return np.bincount(daypart[decision > HOLD], minlength=len(DAYPARTS))
