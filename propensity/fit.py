"""Fits a network to a log's decisions: weighted likelihood, bootstrapped by customer, stopped early on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from campaigns.audience import Catalogue, Population
from campaigns.errors import CampaignError
from campaigns.history import HOLD
from campaigns.replay import DecisionRows
from propensity.calibration import fit_calibration
from propensity.fit_settings import ChosenSettings, FitSettings
from propensity.model import OUTCOME_OF, PropensityModel
from propensity.network import BASE, HEADS, NetworkSpec, PropensityNetwork
from propensity.number_embedding import number_columns
from propensity.split import split_customers

LEAST_BATCHES = 100
"""Steps in an epoch, at least, down to batches of 256 rows."""

VALUE_WEIGHT = 0.5
"""A squared error in standard deviations, halved, is a Gaussian's negative log-likelihood."""

LOSS_SCALE = 50.0
"""Brings the joint loss of a row, of which few hold an event, to order 1, so that gradient clipping has a meaning."""


@dataclass(frozen=True)
class FitTables:
    """Rows as the loss reads them; NaN outcomes have weight 0. All of length R.

    Attributes:
        customers: row of the population. int64.
        state, contents, candidate: inputs. [R, F].
        sent: bool.
        weight: rows of the log that each stands for.
        outcome: by name, NaN replaced by 0. float32.
        known: by name, whether the outcome is known. bool.
        value: in units of `value_unit`.
        value_unit: standard deviation of purchases' values, in currency.
    """

    customers: Tensor
    state: Tensor
    contents: Tensor
    candidate: Tensor
    sent: Tensor
    weight: Tensor
    outcome: dict[str, Tensor]
    known: dict[str, Tensor]
    value_unit: float


def fit_tables(rows: DecisionRows, catalogue: Catalogue) -> FitTables:
    """Prepares rows for the loss.

    Raises:
        CampaignError: where there is nothing to learn from.
    """
    if not len(rows):
        raise CampaignError("decisions: no labelled decision is left to learn from; check data.attribution_hours.")
    sent = rows.decision > HOLD
    listed = rows.decision <= len(catalogue)
    content = (rows.decision - 1).clamp(0, len(catalogue) - 1)
    outcome, known = {}, {}
    for name, values in rows.outcomes.items():
        known[name] = ~values.isnan() & listed
        outcome[name] = values.nan_to_num()
    value_unit = 1.0
    if "value" in outcome and "purchased" in outcome:
        spent = outcome["value"][(outcome["purchased"] > 0) & known["value"]]
        if len(spent) > 1:
            value_unit = max(float(spent.std()), 1e-6)
    return FitTables(
        rows.customer,
        rows.state,
        catalogue.features[content] * sent.unsqueeze(1),
        rows.candidate,
        sent,
        rows.weight,
        outcome,
        known,
        value_unit,
    )


def fit_network(
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    settings: FitSettings,
    seed: int,
    progress: Callable[[int, float], None] | None = None,
) -> PropensityModel:
    """Fits an ensemble.

    Every member weighs every customer by a Poisson(1) draw of its own, which is a customer bootstrap; a share of
    the customers is set aside to stop the training and to calibrate.

    Args:
        rows: labelled decisions; their customers are the training customers.
        population, catalogue: of the same log.
        settings: how.
        seed: the same seed gives the same model on the CPU.
        progress: called with epochs done and the validation loss.
    Returns:
        The calibrated model, on the rows' device.
    """
    device = rows.state.device
    chosen = settings.for_log(one_shot=len(rows.customer.unique()) == len(rows))
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tables = fit_tables(rows, catalogue)
    # Inputs of one scale, or few steps would teach the network little about those of a small one.
    state, candidate = _moments(tables.state, tables.weight), _moments(tables.candidate, tables.weight * tables.sent)
    tables = replace(
        tables, state=(tables.state - state[0]) / state[1], candidate=(tables.candidate - candidate[0]) / candidate[1]
    )
    network = _start(rows, population, catalogue, chosen).to(device)
    _start_at_base_rates(network, tables)

    split = split_customers(rows.customer, population, chosen.validation_share, chosen.members, generator)
    training_rows, validation_rows, bootstrap = split.training, split.validation, split.bootstrap.to(device)
    _train(network, tables, population, (training_rows, validation_rows), bootstrap, chosen, generator, progress)
    every = torch.arange(len(rows))
    with torch.no_grad():
        everything = torch.cat([_outputs(network, tables, population, part) for part in every.split(65_536)])
    network.absorb(state, candidate)
    calibration = fit_calibration(everything[validation_rows], validation_rows, everything, every, tables)
    known = frozenset(head for head, name in OUTCOME_OF.items() if name in tables.outcome)
    return PropensityModel(network, calibration, known)


def _start(
    rows: DecisionRows, population: Population, catalogue: Catalogue, settings: ChosenSettings
) -> PropensityNetwork:
    """The network before its first step."""
    columns, edges = number_columns(population.features[rows.customer.unique()], settings.bins)
    spec = NetworkSpec(
        population.features.shape[1],
        rows.state.shape[1],
        catalogue.features.shape[1],
        rows.candidate.shape[1],
        settings.members,
        settings.width,
        len(columns),
        settings.bins,
        min(settings.tastes, catalogue.features.shape[1]),
        settings.dropout,
    )
    network = PropensityNetwork(spec)
    network.embedding.columns, network.embedding.edges = columns, edges
    return network


def _train(
    network: PropensityNetwork,
    tables: FitTables,
    population: Population,
    rows: tuple[Tensor, Tensor],
    bootstrap: Tensor,
    settings: ChosenSettings,
    generator: torch.Generator,
    progress: Callable[[int, float], None] | None,
) -> None:
    """Trains until the loss on other customers stops falling, and goes back to where it was least.

    Args:
        network: is changed.
        tables, population: the log.
        rows: for training and for validation.
        bootstrap: weight of each customer in each member. Shape [N, k].
        settings, generator, progress: see `fit_network`.
    """
    training_rows, validation_rows = rows
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, foreach=True
    )
    # A small log needs small batches, or an epoch is too few steps to learn anything.
    batch_size = max(256, min(settings.batch_size, len(training_rows) // LEAST_BATCHES))
    batches = -(-len(training_rows) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    best, best_weights, stale = float("inf"), network.state_dict(), 0
    for epoch in range(settings.epochs):
        network.train()
        for batch in training_rows[torch.randperm(len(training_rows), generator=generator)].split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            outputs = _outputs(network, tables, population, batch)
            losses = _losses(outputs, tables, batch, bootstrap[tables.customers[batch]])
            total = torch.stack(list(losses.values())).sum()
            total.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        loss = validation_loss(network, tables, population, validation_rows)
        if not torch.isfinite(torch.tensor(loss)):
            raise CampaignError(f"propensity: the loss became {loss} in epoch {epoch + 1}; lower the learning rate.")
        if progress is not None:
            progress(epoch + 1, loss)
        if loss < best - 1e-5:
            best, stale = loss, 0
            best_weights = {name: value.clone() for name, value in network.state_dict().items()}
        else:
            stale += 1
            if stale >= settings.patience:
                break
    network.load_state_dict(best_weights)
    network.eval()


def _moments(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of columns; 0 and 1 of what does not vary. Shapes [F]."""
    share = (weight.double() / weight.double().sum().clamp(min=1e-12)).unsqueeze(1)
    mean = (share * features).sum(dim=0)
    scale = (share * (features - mean).square()).sum(dim=0).sqrt()
    varies = scale > 1e-4
    return torch.where(varies, mean, 0.0).float(), torch.where(varies, scale, 1.0).float()


@torch.no_grad()
def validation_loss(network: PropensityNetwork, tables: FitTables, population: Population, rows: Tensor) -> float:
    """Sum of the heads' losses on `rows`, averaged over members."""
    network.eval()
    outputs = _outputs(network, tables, population, rows)
    ones = torch.ones(len(rows), network.spec.members, device=outputs.device)
    return float(torch.stack(list(_losses(outputs, tables, rows, ones).values())).sum())


def _outputs(network: PropensityNetwork, tables: FitTables, population: Population, rows: Tensor) -> Tensor:
    projected = network.project_customers(population.features[tables.customers[rows]])
    outputs: Tensor = network(
        projected, tables.state[rows], tables.contents[rows], tables.candidate[rows], tables.sent[rows], None
    )
    return outputs


def _losses(outputs: Tensor, tables: FitTables, rows: Tensor, bootstrap: Tensor) -> dict[str, Tensor]:
    """Negative log-likelihood of every head whose outcome is known, in the joint one of a row of the log.

    All heads are divided by the same number of rows, so that each weighs as much as it is informed: a head of few
    events, divided by those alone, would be noise that drives the others and stops their training.

    Args:
        outputs: Shape [B, k, H].
        tables, rows: outcomes, and which of them these are. Shape [B].
        bootstrap: weight of each row's customer in each member. Shape [B, k].
    """
    head = dict(zip(HEADS, outputs.unbind(dim=-1), strict=True))
    outcome = {name: values[rows] for name, values in tables.outcome.items()}
    known = {name: values[rows] for name, values in tables.known.items()}
    weight = tables.weight[rows]
    zero = torch.zeros_like(weight)
    bought = outcome.get("purchased", zero).unsqueeze(1)
    sent = tables.sent[rows]
    unit = LOSS_SCALE / (weight.unsqueeze(1) * bootstrap).sum().clamp(min=1.0)
    losses: dict[str, Tensor] = {}

    def cross_entropy(name: str, logit: Tensor, column: str, among: Tensor | None) -> None:
        if column not in outcome:
            return
        used = weight * known[column]
        if among is not None:
            used = used * among
        each = F.binary_cross_entropy_with_logits(
            logit, outcome[column].unsqueeze(1).expand_as(logit), reduction="none"
        )
        losses[name] = unit * (used.unsqueeze(1) * bootstrap * each).sum()

    cross_entropy("purchase", head["purchase"], "purchased", None)
    cross_entropy("visit", head["visit"] + bought * head["visit_bought"], "visited", None)
    cross_entropy("unsubscribe", head["unsubscribe"], "unsubscribed", None)
    cross_entropy("open", head["open"] + bought * head["open_bought"], "opened", sent)
    clickable = sent & (outcome.get("opened", zero) > 0)
    cross_entropy("click", head["click"] + bought * head["click_bought"], "clicked", clickable)
    if "value" in outcome and "purchased" in outcome:
        clicked = outcome.get("clicked", zero).unsqueeze(1)
        mean = head["value"] + clicked * head["value_clicked"]
        error = (mean - (outcome["value"] / tables.value_unit).unsqueeze(1)).square()
        weights = (weight * known["value"] * (outcome["purchased"] > 0)).unsqueeze(1) * bootstrap
        losses["value"] = unit * VALUE_WEIGHT * (weights * error).sum()
    return losses


def _start_at_base_rates(network: PropensityNetwork, tables: FitTables) -> None:
    """Sets the heads' biases to the log's base rates, so that training starts where a constant model ends."""
    with torch.no_grad():
        for head, column in OUTCOME_OF.items():
            if column not in tables.outcome:
                continue
            used = tables.weight * tables.known[column]
            if head in {"open", "click"}:
                used = used * tables.sent
            if head == "click" and "opened" in tables.outcome:
                used = used * (tables.outcome["opened"] > 0)
            rate = float((used * tables.outcome[column]).sum() / used.sum().clamp(min=1.0))
            logit = float(torch.logit(torch.tensor(min(max(rate, 1e-6), 1 - 1e-6))))
            _set_bias(network, head, logit)
        if "value" in tables.outcome and "purchased" in tables.outcome:
            spent = tables.outcome["value"][(tables.outcome["purchased"] > 0) & tables.known["value"]]
            if len(spent):
                _set_bias(network, "value", float(spent.mean()) / tables.value_unit)


def _set_bias(network: PropensityNetwork, head: str, value: float) -> None:
    if head in BASE:
        network.base.head_shift[:, BASE.index(head)] = value
    else:
        network.response.head_shift[:, HEADS.index(head)] = value
