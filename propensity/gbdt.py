"""Gradient boosted trees of every head (LightGBM: Ke et al. 2017), as a model that a market can be made of.

Trees start from base rates of holds and sends, and learn what customer, moment and content add. What a purchase shifts
in opens, clicks and visits is one number a head, as is what a click shifts in values: a decision asks each head once.
Stopped early, trees say too little; one factor a head, fitted on the customers that stopped them, makes up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import lightgbm as lgb
import numpy as np
import torch
from torch import Tensor

from propensity.fit_settings import GBDTSettings
from propensity.head_rows import SHIFT_OF, HeadRows, Inputs
from propensity.logistic import HeadsOf
from propensity.model import CALIBRATED
from propensity.network import HEADS
from propensity.regression import fit_logistic, moments, ridge
from propensity.split import Split
from propensity.telling import SENT_ONLY

TREED = (*CALIBRATED, "value")
ONE_THREAD = 512
"""Rows up to which a second thread costs more than it brings."""

PRIOR = 1.0
"""Ridge on the three numbers that trees start from, in rows of the log."""

FACTOR_PRIOR = 20.0
"""Ridge on the factor's distance from 1, in rows of the log: with few events it stays there."""


@dataclass(frozen=True)
class BoostedTrees:
    """Trees of every head and member; see `propensity.response_model.Predictor`.

    Attributes:
        start: level of each member's head on hold, its shift by a send, and by what accompanies it. Shape [k, H, 3].
        factor: by which the trees' sums count. Shape [k, H].
        trees: by head and member, as LightGBM writes them; no entry where a head has none.
    """

    start: Tensor
    factor: Tensor
    trees: Mapping[tuple[str, int], lgb.Booster] = field(default_factory=dict)
    kind: ClassVar[str] = "gbdt"

    @property
    def members(self) -> int:
        """k."""
        return int(self.start.shape[0])

    def project_customers(self, customers: Tensor) -> Tensor:
        """The features themselves. Shape [N, Fu]."""
        return customers

    def __call__(
        self, projected: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor, member: Tensor | None
    ) -> Tensor:
        """Shape [N, H], or [N, k, H]."""
        columns = joined(projected, state, contents, candidate, sent)
        outputs = torch.stack([self._heads(columns, sent, one, member) for one in range(self.members)], dim=1)
        if member is None:
            return outputs
        return outputs.gather(1, member.view(-1, 1, 1).expand(-1, 1, len(HEADS))).squeeze(1)

    def forward_all(self, projected: Tensor, state: Tensor, contents: Tensor, candidates: Tensor) -> Tensor:
        """Shape [N, 1 + K, k, H]."""
        rows, count = len(state), len(contents)
        none = state.new_zeros(rows, 1)
        hold = self(projected, state, none.expand(-1, contents.shape[1]), none.expand(-1, candidates.shape[2]),
                    torch.zeros(rows, dtype=torch.bool, device=state.device), None)  # fmt: skip
        sends = self(
            projected.repeat_interleave(count, dim=0), state.repeat_interleave(count, dim=0),
            contents.repeat(rows, 1), candidates.flatten(0, 1),
            torch.ones(rows * count, dtype=torch.bool, device=state.device), None,
        ).view(rows, count, self.members, len(HEADS))  # fmt: skip
        return torch.cat([hold.unsqueeze(1), sends], dim=1)

    def _heads(self, columns: np.ndarray, sent: Tensor, member: int, asked: Tensor | None) -> Tensor:
        """One member's outputs, of trees only for the rows that ask it. Shape [N, H]."""
        device, is_sent = sent.device, sent.cpu().numpy()
        mine = np.ones(len(columns), dtype=bool) if asked is None else (asked == member).cpu().numpy()
        start = self.start[member].to(device)
        gate = sent.unsqueeze(1).to(start.dtype)
        outputs = start[:, 0] + gate * start[:, 1]
        for head, shift in SHIFT_OF.items():
            outputs[:, HEADS.index(shift)] = start[HEADS.index(head), 2]
        for head in TREED:
            booster = self.trees.get((head, member))
            rows = np.flatnonzero(mine & is_sent if head in SENT_ONLY else mine)
            if booster is None or not len(rows):
                continue
            part = columns if len(rows) == len(columns) else columns[rows]
            raw = self.factor[member, HEADS.index(head)].item() * _raw(booster, part)
            outputs[torch.from_numpy(rows).to(device), HEADS.index(head)] += raw.to(device)
        return outputs

    def moved(self, device: torch.device | str) -> BoostedTrees:
        """The same: trees answer on the CPU, and their answers go where the questions came from."""
        return replace(self, start=self.start.to(device), factor=self.factor.to(device))

    def settings(self) -> dict[str, Any]:
        """JSON-able part."""
        return {"trees": [[head, member] for head, member in self.trees]}

    def weights(self) -> dict[str, Tensor]:
        """The rest, by name; trees as the bytes of LightGBM's own text form."""
        texts = {
            f"{head}.{member}": np.frombuffer(booster.model_to_string().encode(), dtype=np.uint8).copy()
            for (head, member), booster in self.trees.items()
        }
        return {
            "start": self.start,
            "factor": self.factor,
            **{name: torch.from_numpy(text) for name, text in texts.items()},
        }

    @staticmethod
    def restore(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> BoostedTrees:
        """The inverse of `settings` and `weights`."""
        trees = {
            (str(head), int(member)): lgb.Booster(model_str=weights[f"{head}.{member}"].numpy().tobytes().decode())
            for head, member in settings["trees"]
        }
        return BoostedTrees(weights["start"], weights["factor"], trees)


def _raw(booster: lgb.Booster, columns: np.ndarray) -> Tensor:
    """Sums of leaves. Shape [n], float32."""
    if not len(columns):
        return torch.zeros(0)
    threads = 1 if len(columns) <= ONE_THREAD else torch.get_num_threads()
    found = np.asarray(booster.predict(columns, raw_score=True, num_threads=threads), dtype=np.float32)
    return torch.from_numpy(found)


def joined(customers: Tensor, state: Tensor, contents: Tensor, candidate: Tensor, sent: Tensor) -> np.ndarray:
    """What trees see of decisions: contents and candidates are 0 on hold. Shape [N, F], float32."""
    gate = sent.unsqueeze(1).to(state.dtype)
    columns = torch.cat([customers, state, gate * contents, gate * candidate, gate], dim=1)
    return np.ascontiguousarray(columns.detach().cpu().numpy(), dtype=np.float32)


def fit_gbdt_heads(
    inputs: Inputs, split: Split, heads: HeadsOf, settings: GBDTSettings, members: int, seed: int
) -> BoostedTrees:
    """Fits all heads: each stops at its own number of trees, by the validation customers.

    Args:
        inputs: of all rows.
        split: training and validation customers, and the members' bootstrap.
        heads: rows of a head among the given rows.
        settings: of the trees.
        members: k; a single one counts every customer once.
        seed: of LightGBM.
    """
    parameters = _parameters(settings, seed)
    start, factor = torch.zeros(members, len(HEADS), 3), torch.ones(members, len(HEADS))
    trees: dict[tuple[str, int], lgb.Booster] = {}
    for head in TREED:
        own, held = heads(head, split.training), heads(head, split.validation)
        if own is None or held is None or not len(own.rows):
            continue
        train = _dataset(own, inputs, parameters)
        valid = _dataset(held, inputs, parameters, train) if len(held.rows) else None
        customers = inputs.customers[own.rows]
        for member in range(members):
            weight = own.weight * (split.bootstrap[customers, member] if members > 1 else 1.0)
            level = _start(own, inputs, weight)
            booster = _boosted(train, valid, own, held, inputs, weight, level, parameters, settings)
            if booster is not None:
                trees[head, member] = booster
                level, factor[member, HEADS.index(head)] = _made_up(held, inputs, level, booster)
            start[member, HEADS.index(head)] = level
    return BoostedTrees(start, factor, trees)


def _parameters(settings: GBDTSettings, seed: int) -> dict[str, Any]:
    return {
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.leaf_rows,
        "lambda_l2": settings.l2,
        "max_bin": settings.bins,
        "feature_pre_filter": False,
        "boost_from_average": False,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": torch.get_num_threads(),
        "seed": seed,
        "verbosity": -1,
    }


def _columns(rows: Tensor, inputs: Inputs) -> np.ndarray:
    people = inputs.people[inputs.customers[rows]]
    return joined(people, inputs.state[rows], inputs.contents[rows], inputs.candidate[rows], inputs.sent[rows])


def _dataset(
    own: HeadRows, inputs: Inputs, parameters: Mapping[str, Any], like: lgb.Dataset | None = None
) -> lgb.Dataset:
    """A head's rows in bins, their own or those of another data set.

    Training rows need their own: in the bins of other rows LightGBM 4.7 crashed on logs of some sizes.
    """
    return lgb.Dataset(_columns(own.rows, inputs), reference=like, params=dict(parameters)).construct()


def _boosted(
    train: lgb.Dataset,
    valid: lgb.Dataset | None,
    own: HeadRows,
    held: HeadRows,
    inputs: Inputs,
    weight: Tensor,
    level: Tensor,
    parameters: Mapping[str, Any],
    settings: GBDTSettings,
) -> lgb.Booster | None:
    """The trees of one head and member; None where none is better than the level alone."""
    events = float((weight * own.outcome).sum())
    if own.head != "value" and not 0 < events < float(weight.sum()):
        return None
    for data, part, counted in ((train, own, weight), (valid, held, held.weight)):
        if data is None:
            continue
        data.set_label(part.outcome.numpy())
        data.set_weight(counted.numpy())
        data.set_init_score((_design(part, inputs) @ level).numpy())
    metric = "l2" if own.head == "value" else "binary_logloss"
    history: dict[str, Any] = {}
    objective = "regression" if own.head == "value" else "binary"
    stops = valid is not None
    booster = lgb.train(
        {**parameters, "objective": objective, "metric": metric}, train, settings.trees,
        valid_sets=[valid] if valid is not None else None, valid_names=["held"] if stops else None,
        callbacks=[lgb.early_stopping(settings.patience, verbose=False), lgb.record_evaluation(history)]
        if stops else None,
    )  # fmt: skip
    if stops and history["held"][metric][booster.best_iteration - 1] >= _loss(held, inputs, level):
        return None
    text = booster.model_to_string(num_iteration=booster.best_iteration if stops else -1)
    return lgb.Booster(model_str=text)


def _loss(held: HeadRows, inputs: Inputs, level: Tensor) -> float:
    """The metric where there are no trees."""
    predicted, weight = (_design(held, inputs) @ level).double(), held.weight.double()
    outcome = held.outcome.double()
    if held.head == "value":
        each = (predicted - outcome).square()
    else:
        each = torch.nn.functional.binary_cross_entropy_with_logits(predicted, outcome, reduction="none")
    return float((weight * each).sum() / weight.sum())


def _design(own: HeadRows, inputs: Inputs) -> Tensor:
    """Constant, sent, and what accompanies the outcome. Shape [n, 3]."""
    sent = inputs.sent[own.rows].float()
    return torch.stack([torch.ones(len(sent)), sent, own.beside], dim=1)


def _start(own: HeadRows, inputs: Inputs, weight: Tensor) -> Tensor:
    """The level on hold, and its shifts by a send and by what accompanies the outcome. Shape [3]."""
    design = _design(own, inputs)
    penalised = torch.tensor([0.0, PRIOR, PRIOR], dtype=torch.float64)
    if own.head == "value":
        found = moments(lambda: iter([(slice(None), design)]), own.outcome, weight, 3)
        share = PRIOR / max(float(found.products.diagonal().mean()), 1e-12)
        return ridge(found, share, penalised).float()
    total, events = float(weight.sum()), float((weight * own.outcome).sum())
    rate = (events + 0.5) / (total + 1.0)
    first = torch.tensor([float(torch.logit(torch.tensor(rate))), 0.0, 0.0])
    if events in (0, total):
        return first
    fitted = fit_logistic(lambda: iter([(slice(None), design)]), own.outcome, weight, penalised, first)
    return fitted.coefficients.float()


def _made_up(held: HeadRows, inputs: Inputs, level: Tensor, booster: lgb.Booster) -> tuple[Tensor, float]:
    """The level [3] and the trees' factor that suit the validation customers, who stopped the trees."""
    if held.head == "value" or not 0 < float(held.outcome.sum()) < len(held.rows):
        return level, 1.0
    design, raw = _design(held, inputs), _raw(booster, _columns(held.rows, inputs))
    both = torch.cat([design, (raw - raw.mean()).unsqueeze(1)], dim=1)
    change = fit_logistic(
        lambda: iter([(slice(None), both)]), held.outcome, held.weight,
        torch.tensor([PRIOR, PRIOR, PRIOR, FACTOR_PRIOR], dtype=torch.float64), torch.zeros(4),
        offset=design @ level + raw,
    ).coefficients.float()  # fmt: skip
    moved = level + change[:3]
    moved[0] -= change[3] * raw.mean()
    return moved, 1.0 + float(change[3])
