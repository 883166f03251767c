"""What the log shows of groups of customers, beside what the network predicts of the same decisions.

The effect of sending is observed only where the probabilities of decisions were logged: outcomes of sends, less those
of holds weighted to the moments in which sends were made, by the odds of a send (the effect on the treated of Hirano,
Imbens and Ridder 2003, with weights normalised as by Hajek 1971).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from campaigns.audience import Catalogue, Population
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD
from campaigns.replay import DecisionRows
from propensity.profiles import LEAST_CUSTOMERS
from propensity.response_model import ResponseModel

DRAWS = 500
"""Draws of the customer bootstrap."""

NONE_SEEN = 3.69
"""Upper 97.5 % limit of a Poisson mean of which nothing was seen: no draw of customers shows what none of them did."""

SUMS = (
    "time", "outcome", "outcome_predicted",
    "sends", "opt_outs", "opt_outs_predicted",
    "opens_predicted", "opens",
    "sent", "sent_outcome", "held", "held_outcome", "effect_predicted",
)  # fmt: skip
"""What is summed up of every customer's decisions; every figure is a ratio or a difference of ratios of them."""

RATES = {
    "outcome_rate": (("outcome", "time"), ("outcome_predicted", "time")),
    "opt_out_rate": (("opt_outs", "sends"), ("opt_outs_predicted", "sends")),
    "open_rate": (("opens", "sends"), ("opens_predicted", "sends")),
}


@dataclass(frozen=True)
class CustomerSums:
    """Sums over each customer's decisions.

    Attributes:
        table: columns as in SUMS. Shape [N, 13].
        unit: what the bootstrap draws as one: a customer, or a group of customers such as a household. Shape [N].
        per_week: whether `time` counts weeks; else decisions, of which there is one a customer.
        identified: whether probabilities were logged, so that the effect of sending is observed.
        has_holds: whether the log shows what happens unasked; else no effect of sending can be predicted either.
    """

    table: np.ndarray
    unit: np.ndarray
    per_week: bool
    identified: bool
    has_holds: bool = True


@torch.no_grad()
def customer_sums(
    model: ResponseModel,
    rows: DecisionRows,
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    slot_hours: int,
    outcome: str,
) -> CustomerSums:
    """Sums up what was observed and what is predicted of the same decisions.

    Args:
        model: that has not seen these customers.
        rows: their labelled decisions; holds may be subsampled.
        grid, population: of these N customers.
        catalogue: the contents.
        slot_hours: length of a slot.
        outcome: `purchased` or `visited`.
    """
    rows = rows.take(rows.decision <= len(catalogue))
    sent = rows.decision > HOLD
    place = rows.customer.numpy()
    content = (rows.decision - 1).clamp(min=0)
    customer, state = population.features[rows.customer], rows.state
    attributes = catalogue.features[content] * sent.unsqueeze(1)
    response = model.respond(customer, state, attributes, rows.candidate, sent)
    nothing = torch.zeros_like(attributes[sent]), torch.zeros_like(rows.candidate[sent])
    held = model.respond(customer[sent], state[sent], *nothing, ~sent[sent])
    weight, was_sent = rows.weight.double().numpy(), sent.double().numpy()
    happened = _known(rows, outcome)
    known = ~np.isnan(happened)
    counted = weight * known
    predicted = response.expected(outcome).double().numpy()
    opened, left = _known(rows, "opened"), _known(rows, "unsubscribed")
    labelled = was_sent * ~np.isnan(left)
    seen = was_sent * ~np.isnan(opened)
    column = rows.slot.numpy() - grid.first_slot
    logged = grid.action_prob[place, column].astype(np.float64)
    # A decision of probability 1 was forced: it has nothing to be compared with.
    free = known & (logged > 0) & (logged < 1) & grid.eligible[place, column]
    odds = np.where(free, (1 - logged) / np.where(free, logged, 1.0), 0.0) * weight * (1 - was_sent)
    effect = np.zeros(len(rows))
    effect[sent.numpy()] = predicted[sent.numpy()] - held.expected(outcome).double().numpy()
    treated = was_sent * (free if free.any() else known)
    one_shot = grid.is_one_shot
    columns = {
        "time": counted * (1.0 if one_shot else slot_hours / 168.0),
        "outcome": counted * np.nan_to_num(happened),
        "outcome_predicted": counted * predicted,
        "sends": labelled,
        "opt_outs": labelled * np.nan_to_num(left),
        "opt_outs_predicted": labelled * response.unsubscribe.double().numpy(),
        "opens": seen * np.nan_to_num(opened),
        "opens_predicted": seen * response.opened.double().numpy(),
        "sent": treated,
        "sent_outcome": treated * np.nan_to_num(happened),
        "held": odds,
        "held_outcome": odds * np.nan_to_num(happened),
        "effect_predicted": treated * effect,
    }
    table = np.stack([np.bincount(place, columns[n], len(population)) for n in SUMS], axis=1)
    identified = bool(free.any() and not np.isnan(logged[known]).any())
    return CustomerSums(table, population.units.numpy(), not one_shot, identified, bool((~sent).any()))


def group_figures(
    sums: CustomerSums, group: np.ndarray, effect: np.ndarray, contents: tuple[str, ...], seed: int
) -> dict[int, dict[str, Any]]:
    """Figures of every group of at least LEAST_CUSTOMERS customers, with 95 % intervals of a customer bootstrap.

    Intervals tell how much another draw of customers would change a figure; a network's own errors are not in them.

    Args:
        sums: of N customers.
        group: of each. Shape [N], int64.
        effect: predicted effect of sending each content, in typical moments. Shape [N, C].
        contents: their names. Length C.
        seed: of the bootstrap.
    Returns:
        By group: `customers`, `share`, rates and `effect` as `{observed, predicted}`, `contents` best first.
    """
    found = {}
    for number in np.unique(group).tolist():
        inside = group == number
        if inside.sum() < LEAST_CUSTOMERS:
            continue
        found[int(number)] = {
            "customers": int(inside.sum()),
            "share": float(inside.mean()),
            **_figures(sums, inside, seed),
            "contents": _by_content(effect[inside], contents),
        }
    return found


def _figures(sums: CustomerSums, inside: np.ndarray, seed: int) -> dict[str, Any]:
    _, unit = np.unique(sums.unit[inside], return_inverse=True)
    table = np.zeros((int(unit.max()) + 1, len(SUMS)))
    np.add.at(table, unit, sums.table[inside])
    generator = np.random.default_rng([seed, 29])
    counts = generator.multinomial(len(table), np.full(len(table), 1 / len(table)), DRAWS)
    drawn = np.concatenate([table.sum(axis=0, keepdims=True), counts @ table])
    total = {name: drawn[:, place] for place, name in enumerate(SUMS)}

    def ratio(top: str, bottom: str) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            answer: np.ndarray = total[top] / total[bottom]
        return answer

    figures: dict[str, Any] = {}
    for name, (seen, said) in RATES.items():
        observed = _range(ratio(*seen))
        if observed is not None and not observed["value"]:
            observed["high"] = NONE_SEEN / float(total[seen[1]][0])
        figures[name] = {"observed": observed, "predicted": _range(ratio(*said))}
    effect = ratio("sent_outcome", "sent") - ratio("held_outcome", "held")
    figures["effect"] = {
        "observed": _range(effect) if sums.identified else None,
        "predicted": _range(ratio("effect_predicted", "sent")) if sums.has_holds else None,
    }
    return figures


def _range(draws: np.ndarray) -> dict[str, float] | None:
    """The figure of the customers themselves, and the percentiles of its bootstrap draws; None where there is none."""
    if not np.isfinite(draws[0]):
        return None
    low, high = np.nanquantile(draws[1:], (0.025, 0.975))
    return {"value": float(draws[0]), "low": float(low), "high": float(high)}


def _by_content(effect: np.ndarray, contents: tuple[str, ...]) -> list[dict[str, Any]]:
    means = effect.mean(axis=0)
    return [{"content": contents[i], "effect": float(means[i])} for i in np.argsort(-means, kind="stable")]


def _known(rows: DecisionRows, outcome: str) -> np.ndarray:
    values: Mapping[str, torch.Tensor] = rows.outcomes
    if outcome not in values:
        return np.full(len(rows), np.nan)
    return values[outcome].double().numpy()
