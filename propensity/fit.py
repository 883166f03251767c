"""Fits a network to a log's decisions: weighted likelihood, bootstrapped by customer, stopped early on others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from propensity.optouts import HEAD as OPT_OUTS
from propensity.optouts import refit_optouts
from propensity.split import Split, split_customers
from propensity.telling import telling_rows

ROWS_AT_ONCE = 65_536
"""Rows in one pass where nothing is learned, which bounds memory."""

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


@dataclass(frozen=True)
class Batches:
    """What a network is asked while it is fitted; inputs are standardised batch by batch, so that no copy is kept.

    Attributes:
        tables, population: the log.
        state, candidate: mean and standard deviation of each column. Shapes [F].
        device: where the network lives; the log's rows stay where they are.
    """

    tables: FitTables
    population: Population
    state: tuple[Tensor, Tensor]
    candidate: tuple[Tensor, Tensor]
    device: torch.device

    def outputs(self, network: PropensityNetwork, rows: Tensor) -> Tensor:
        """All members' outputs, in half precision inside where a GPU has it. Shape [B, k, H], float32."""
        tables, device = self.tables, self.device
        state, candidate = self.features(rows)
        people = self.population.features[tables.customers[rows]].to(device)
        contents, sent = tables.contents[rows].to(device), tables.sent[rows].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            asked = network(network.project_customers(people), state, contents, candidate, sent, None)
        outputs: Tensor = asked.float()
        return outputs

    def features(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised state and candidate features. Shapes [B, Fs] and [B, Fc]."""
        state = (self.tables.state[rows] - self.state[0]) / self.state[1]
        candidate = (self.tables.candidate[rows] - self.candidate[0]) / self.candidate[1]
        return state.to(self.device), candidate.to(self.device)


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
        spent = outcome["value"][telling_rows("value", sent, outcome, known)]
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
    device: torch.device | str = "cpu",
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
        device: where the network is trained; rows stay on the CPU and travel batch by batch.
    Returns:
        The calibrated model, on the CPU.
    """
    chosen = settings.for_log(rows.one_shot)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network, batches = prepared(rows, population, catalogue, chosen, device)
    return fit_prepared(network, batches, chosen, generator, progress)


def prepared(
    rows: DecisionRows,
    population: Population,
    catalogue: Catalogue,
    settings: ChosenSettings,
    device: torch.device | str,
) -> tuple[PropensityNetwork, Batches]:
    """The network before its first step, and the log as it will be asked; see `fit_network`."""
    tables = fit_tables(rows, catalogue)
    # Inputs of one scale, or few steps would teach the network little about those of a small one.
    state, candidate = _moments(tables.state, tables.weight), _moments(tables.candidate, tables.weight * tables.sent)
    batches = Batches(tables, population, state, candidate, torch.device(device))
    network = _start(rows, population, catalogue, settings).to(device)
    _start_at_base_rates(network, tables)
    return network, batches


def fit_prepared(
    network: PropensityNetwork,
    batches: Batches,
    settings: ChosenSettings,
    generator: torch.Generator,
    progress: Callable[[int, float], None] | None = None,
) -> PropensityModel:
    """Trains and calibrates what `prepared` returned; see `fit_network`. The network is changed."""
    tables = batches.tables
    split = split_customers(
        tables.customers, batches.population, settings.validation_share, settings.members, generator
    )
    _train(network, batches, split, settings, generator, progress)
    every = torch.arange(len(tables.customers))
    with torch.no_grad():
        everything = torch.cat([batches.outputs(network, part).cpu() for part in every.split(ROWS_AT_ONCE)])
    network = network.cpu()
    network.absorb(batches.state, batches.candidate)
    doubt = refit_optouts(network, tables, batches.population, split.bootstrap, everything)
    settled = frozenset() if doubt is None else frozenset({OPT_OUTS})
    calibration = fit_calibration(everything[split.validation], split.validation, everything, every, tables, settled)
    known = frozenset(head for head, name in OUTCOME_OF.items() if name in tables.outcome)
    return PropensityModel(network, calibration, known, doubt)


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
    batches: Batches,
    split: Split,
    settings: ChosenSettings,
    generator: torch.Generator,
    progress: Callable[[int, float], None] | None,
) -> None:
    """Trains until the loss on other customers stops falling, and goes back to where it was least.

    Args:
        network: is changed.
        batches: the log.
        split: rows for training and for validation, and what each customer weighs in each member.
        settings, generator, progress: see `fit_network`.
    """
    training_rows = split.training
    tables, on_gpu = batches.tables, batches.device.type == "cuda"
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay,
        fused=on_gpu or None, foreach=not on_gpu or None,
    )  # fmt: skip
    # A small log needs small batches, or an epoch is too few steps to learn anything.
    batch_size = max(256, min(settings.batch_size, len(training_rows) // LEAST_BATCHES))
    steps = -(-len(training_rows) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * steps)
    best, best_weights, stale = float("inf"), network.state_dict(), 0
    for epoch in range(settings.epochs):
        network.train()
        for batch in training_rows[torch.randperm(len(training_rows), generator=generator)].split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            outputs = batches.outputs(network, batch)
            losses = _losses(outputs, tables, batch, split.bootstrap[tables.customers[batch]])
            total = torch.stack(list(losses.values())).sum()
            total.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        loss = validation_loss(network, batches, split.validation)
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
    total = weight.double().sum().clamp(min=1e-12)
    first = torch.zeros(features.shape[1], dtype=torch.float64)
    second = torch.zeros_like(first)
    for rows, share in zip(features.split(ROWS_AT_ONCE), weight.split(ROWS_AT_ONCE), strict=True):
        first += share.double() @ rows.double()
        second += share.double() @ rows.double().square()
    mean = first / total
    scale = (second / total - mean.square()).clamp(min=0.0).sqrt()
    varies = scale > 1e-4
    return torch.where(varies, mean, 0.0).float(), torch.where(varies, scale, 1.0).float()


@torch.no_grad()
def validation_loss(network: PropensityNetwork, batches: Batches, rows: Tensor) -> float:
    """Sum of the heads' losses on `rows`, averaged over members."""
    network.eval()
    total, weights = 0.0, 0.0
    for part in rows.split(ROWS_AT_ONCE):
        ones = torch.ones(len(part), network.spec.members)
        losses = _losses(batches.outputs(network, part), batches.tables, part, ones)
        weight = float(batches.tables.weight[part].sum())
        total, weights = total + weight * float(torch.stack(list(losses.values())).sum()), weights + weight
    return total / max(weights, 1e-12)


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
    device = outputs.device
    outcome = {name: values[rows].to(device) for name, values in tables.outcome.items()}
    known = {name: values[rows].to(device) for name, values in tables.known.items()}
    weight, bootstrap = tables.weight[rows].to(device), bootstrap.to(device)
    zero = torch.zeros_like(weight)
    bought = outcome.get("purchased", zero).unsqueeze(1)
    sent = tables.sent[rows].to(device)
    unit = LOSS_SCALE / (weight.unsqueeze(1) * bootstrap).sum().clamp(min=1.0)
    losses: dict[str, Tensor] = {}

    # Where opens are not in the log, clicks teach nothing: no click without an open.
    came = outcome | {"opened": outcome.get("opened", zero)}

    def cross_entropy(name: str, logit: Tensor) -> None:
        column = OUTCOME_OF[name]
        if column not in outcome:
            return
        used = weight * telling_rows(name, sent, came, known)
        each = F.binary_cross_entropy_with_logits(
            logit, outcome[column].unsqueeze(1).expand_as(logit), reduction="none"
        )
        losses[name] = unit * (used.unsqueeze(1) * bootstrap * each).sum()

    cross_entropy("purchase", head["purchase"])
    cross_entropy("visit", head["visit"] + bought * head["visit_bought"])
    cross_entropy("unsubscribe", head["unsubscribe"])
    cross_entropy("open", head["open"] + bought * head["open_bought"])
    cross_entropy("click", head["click"] + bought * head["click_bought"])
    if "value" in outcome and "purchased" in outcome:
        clicked = outcome.get("clicked", zero).unsqueeze(1)
        mean = head["value"] + clicked * head["value_clicked"]
        error = (mean - (outcome["value"] / tables.value_unit).unsqueeze(1)).square()
        weights = (weight * telling_rows("value", sent, outcome, known)).unsqueeze(1) * bootstrap
        losses["value"] = unit * VALUE_WEIGHT * (weights * error).sum()
    return losses


def _start_at_base_rates(network: PropensityNetwork, tables: FitTables) -> None:
    """Sets the heads' biases to the log's base rates, of holds and of sends apart, so that training starts where a
    constant model ends: what never happens on a hold need not be learned from a hundred thousand of them.
    """
    hold = ~tables.sent
    with torch.no_grad():
        for head, column in OUTCOME_OF.items():
            if column not in tables.outcome:
                continue
            used = tables.weight * telling_rows(head, tables.sent, tables.outcome, tables.known)
            outcome = tables.outcome[column]
            sent_logit = _base_logit(used * tables.sent, outcome)
            if head not in BASE:
                network.response.head_shift[:, HEADS.index(head)] = sent_logit
                continue
            hold_logit = _base_logit(used * hold, outcome) if (used * hold).any() else sent_logit
            network.base.head_shift[:, BASE.index(head)] = hold_logit
            if (used * tables.sent).any():
                network.response.head_shift[:, HEADS.index(head)] = sent_logit - hold_logit
        if "value" in tables.outcome and "purchased" in tables.outcome:
            spent = tables.outcome["value"][telling_rows("value", tables.sent, tables.outcome, tables.known)]
            if len(spent):
                network.base.head_shift[:, BASE.index("value")] = float(spent.mean()) / tables.value_unit


def _base_logit(weight: Tensor, outcome: Tensor) -> float:
    """Logit of the weighted rate, as if half an event and half a non-event had been seen besides."""
    total = float(weight.sum())
    rate = (float((weight * outcome).sum()) + 0.5) / (total + 1.0)
    return float(torch.logit(torch.tensor(rate, dtype=torch.float64)))
