"""Which rows of a log tell of which head: said once, for fitting, calibrating and judging alike."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from propensity.model import OUTCOME_OF

SENT_ONLY = frozenset({"open", "click"})
"""Heads that only a send has."""


def telling_rows(head: str, sent: Tensor, outcome: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Tensor:
    """The rows that tell of a head: its outcome is known there, and could have come about.

    Opens and clicks need a send, clicks an open (where the log has opens), and the value of a purchase a purchase.

    Args:
        head: one of CALIBRATED, or `value`, whose outcome the log has.
        sent: Shape [R], bool.
        outcome: by the log's column. Shape [R] each.
        known: whether it is known, by the log's column. Shape [R] each, bool.
    Returns:
        Shape [R], bool.
    """
    used = known[OUTCOME_OF.get(head, head)]
    if head in SENT_ONLY:
        used = used & sent
    if head == "click" and "opened" in outcome:
        used = used & (outcome["opened"] > 0)
    if head == "value":
        used = used & (outcome["purchased"] > 0)
    return used
