"""What a new campaign would have earned over all its days, where everything that it sends was sent in the log.

The estimate is that of `evaluation.sequential`: FQE and a truncated correction, with blends and refusals. FQE looks
weeks ahead, and what it says there of a content, a value or a time that no decision ever had would be extrapolation
that no weight corrects. So it is asked only where none of the campaign's sends rests on such: the first slots alone
have a rule for a small part of them (`evaluation.new_campaign`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from campaigns.clock import DAYPARTS
from evaluation.intervals import Interval
from evaluation.new_campaign import CAMPAIGN, Unknown, unknown_shares
from evaluation.offline import refused_entry
from evaluation.offline_settings import OfflineSettings
from evaluation.sequences import Sequences
from evaluation.sequential import evaluate_sequences
from evaluation.verdict import Verdict, judge

LEAST_SHARE = 1e-4
"""Share of the sends above which something never logged counts: what is below is rounding."""

LEAST_CUSTOMERS = 200
"""Fewer customers than these give no whole-horizon estimate: its intervals hold for many."""


def whole_report(
    sequences: Sequences,
    unknown: Unknown,
    names: Sequence[str],
    unseen_words: Sequence[str],
    settings: OfflineSettings,
    seed: int,
    contradicted: str | None = None,
) -> dict[str, Any]:
    """Estimate, diagnostics and verdict of the campaign over the whole horizon.

    Args:
        sequences: with `CAMPAIGN` among their policies.
        unknown: of the same customers and slots.
        names: of the K contents.
        unseen_words: attribute values that no send ever had, for the sentence.
        settings, seed: of the bootstrap.
        contradicted: why the log contradicts its own probabilities; None where it does not.
    Returns:
        `offline`: as `evaluate_sequences` gives it, or None; `customers`; `unlogged`: see `unknown_shares`; `verdict`
        and `sentence`.
    """
    known = sequences.known.numpy()
    target, predicted = sequences.target[CAMPAIGN].numpy(), sequences.immediate.numpy()
    shares = unknown_shares(target, predicted, known, unknown)
    customers = int(known[:, 0].sum())
    told: dict[str, Any] = {"offline": None, "customers": customers, "unlogged": shares}
    why = _never_logged(shares, target, known, unknown, names, unseen_words)
    if why is not None:
        return told | {"verdict": "not identifiable", "sentence": why}
    found = None
    if customers >= LEAST_CUSTOMERS:
        found = evaluate_sequences(sequences, settings, seed).get(CAMPAIGN)
    if found is None:
        return told | {"verdict": "cannot tell", "sentence": too_few(customers)}
    if contradicted is not None:
        found = refused_entry(found, contradicted)
    word = _word(found, settings.level)
    return told | {"offline": found | {"verdict": word.word}, "verdict": word.word, "sentence": word.sentence}


def too_few(customers: int) -> str:
    """Why customers of this number give no estimate."""
    return (
        f"Only {customers:,} customers of the audience can be judged over that many decisions; at least "
        f"{LEAST_CUSTOMERS} are needed."
    )


def _never_logged(
    shares: dict[str, Any],
    target: np.ndarray,
    known: np.ndarray,
    unknown: Unknown,
    names: Sequence[str],
    unseen_words: Sequence[str],
) -> str | None:
    """What of the campaign no decision of the log ever was, in a sentence; None where all of it was."""

    def above(name: str) -> bool:
        return (shares[name]["share_of_sends"] or 0.0) > LEAST_SHARE

    if not above("unlogged"):
        return None
    parts = []
    if above("new_contents"):
        sends = np.where(known[..., None], target, 0.0).sum(axis=(0, 1))[1:] * unknown.new
        most = [str(names[i]) for i in np.argsort(-sends, kind="stable")[:3] if sends[i] > 0]
        parts.append(f"contents that were never sent ({', '.join(most)})")
    if above("unseen_values") and unseen_words:
        parts.append(f"attribute values that no send ever had ({'; '.join(unseen_words[:6])})")
    if above("silent_dayparts"):
        silent = [part for part, none in zip(DAYPARTS, unknown.silent, strict=True) if none]
        parts.append(f"times of the day at which nothing was ever sent ({', '.join(silent)})")
    share = shares["unlogged"]["share_of_sends"]
    return (
        f"{'Less than 1 %' if share < 0.01 else f'{share:.0%}'} of the campaign's sends rest on {' and '.join(parts)}: "
        "what comes of them over days no logged decision shows. Send some of them at random first."
    )


def _word(found: dict[str, Any], level: float) -> Verdict:
    """The verdict in a word and a sentence."""
    refused, difference = found["diagnostics"]["refused"], found["difference"]
    if refused or difference is None:
        return Verdict(found["verdict"], refused or "The log is too small to tell.")
    between = Interval(difference["value"], difference["low"], difference["high"], level)
    told = judge(between, None, "the campaign", "what was done")
    return Verdict(told.word, told.sentence[:1].upper() + told.sentence[1:])
