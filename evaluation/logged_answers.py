"""What a market's network answers to the log's own decisions, on customers that it did not see.

Only decisions that were free count: where the logging policy could not send, a hold tells nothing of sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from campaigns.audience import Catalogue, Population
from campaigns.clock import SlotClock
from campaigns.grid import DecisionGrid
from campaigns.history import HOLD, sends_within
from campaigns.logging_policy import LoggingPolicyModel
from campaigns.observation import Observation
from campaigns.replay import replay
from evaluation.gate_checks import OUTCOMES
from propensity.model import PropensityModel
from propensity.response import Response


@dataclass(frozen=True)
class LoggedAnswers:
    """R free decisions of a log.

    Attributes:
        unit: of the customer: what the bootstrap draws as one, such as a household. Shape [R], int64.
        decision: HOLD or 1 + content index. Shape [R], int64.
        weight: rows of the log that each stands for. Shape [R].
        logged_prob: probability of the decision, logged or fitted. Shape [R].
        hold_prob: probability of a hold: the logged one of a hold, the fitted one of a send. Shape [R].
        chances: fitted probabilities of hold and every content. Shape [R, 1 + K].
        evening: whether it was evening for the customer. Shape [R], bool.
        recent: sends in the 48 hours before. Shape [R], int64.
        observed: by outcome, NaN where unknown. Shape [R] each.
        taken: the network's expectation of the decision taken, by outcome. Shape [R] each.
        idle: of a hold. Shape [R] each.
        tried: of a send of `trial`. Shape [R] each.
        trial: the content sent, or for a hold one drawn as the logging policy would have. Content index, [R].
        fitted: whether probabilities had to be fitted.
    """

    unit: np.ndarray
    decision: np.ndarray
    weight: np.ndarray
    logged_prob: np.ndarray
    hold_prob: np.ndarray
    chances: np.ndarray
    evening: np.ndarray
    recent: np.ndarray
    observed: dict[str, np.ndarray]
    taken: dict[str, np.ndarray]
    idle: dict[str, np.ndarray]
    tried: dict[str, np.ndarray]
    trial: np.ndarray
    fitted: bool

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def sent(self) -> np.ndarray:
        """Whether something was sent. Shape [R], bool."""
        sent: np.ndarray = self.decision > HOLD
        return sent


@torch.no_grad()
def collect_answers(
    grid: DecisionGrid,
    population: Population,
    catalogue: Catalogue,
    clock: SlotClock,
    model: PropensityModel,
    logging_policy: LoggingPolicyModel,
    seed: int,
    hold_share: float = 0.25,
    most_rows: int = 200_000,
) -> LoggedAnswers | None:
    """Replays a log and asks the network about the decisions taken, and about holding instead.

    Args:
        grid, population, catalogue, clock: of customers that `model` was not fitted to.
        model: of the market.
        logging_policy: stands in where `action_prob` is unknown, and draws what a hold might have sent.
        seed: of the subsample and of those draws.
        hold_share: share of the free holds that is asked about (weighted up).
        most_rows: roughly how many rows are asked about; beyond, sends and holds are thinned alike.
    Returns:
        None where the log has no free send or no free hold.
    """
    generator = np.random.default_rng([seed, 29])
    names = [column for column in OUTCOMES.values() if column in grid.outcomes]
    free = grid.labelled & (grid.decision >= HOLD) & (grid.decision <= len(catalogue)) & grid.eligible
    free &= ~((grid.decision == HOLD) & (np.nan_to_num(grid.action_prob) >= 1.0))
    sends, holds = int((free & (grid.decision > HOLD)).sum()), int((free & (grid.decision == HOLD)).sum())
    if not sends or not holds:
        return None
    share = min(1.0, most_rows / (sends + hold_share * holds))
    units = population.units.numpy()
    parts: dict[str, list[np.ndarray]] = {}
    fitted = False
    for step in replay(grid, population, catalogue, clock):
        column = step.column
        keep = np.where(grid.decision[:, column] == HOLD, share * hold_share, share)
        rows = np.flatnonzero(free[:, column] & (generator.random(len(keep)) < keep))
        if not len(rows):
            continue
        index = torch.from_numpy(rows)
        seen = step.observation
        chances = _chances(logging_policy, seen, index)
        decision = step.decision[index]
        given = torch.from_numpy(grid.action_prob[rows, column].astype(np.float64))
        unknown = given.isnan()
        fitted = fitted or bool(unknown.any())
        own = chances.gather(1, decision.unsqueeze(1)).squeeze(1).clamp(min=1e-4)
        prob = torch.where(unknown, own, given)
        content = _drawn_contents(chances, torch.from_numpy(generator.random(len(rows))))
        trial = torch.where(decision > HOLD, decision - 1, content)
        idle, tried = _answers(model, seen, index, trial, catalogue)
        entry: dict[str, np.ndarray] = {
            "unit": units[rows],
            "decision": decision.numpy(),
            "weight": 1.0 / keep[rows],
            "logged_prob": prob.numpy(),
            "hold_prob": torch.where(decision == HOLD, prob, chances[:, 0]).clamp(1e-4, 1.0).numpy(),
            "chances": chances.numpy(),
            "evening": (seen.daypart[index] == 3).numpy(),
            "recent": sends_within(seen.history, seen.slot, clock.slots_in(2))[index].numpy(),
            "trial": trial.numpy(),
        }
        for name in names:
            expected_idle, expected_sent = (r.expected(name).double().numpy() for r in (idle, tried))
            entry |= {
                f"observed.{name}": grid.outcomes[name][rows, column].astype(np.float64),
                f"idle.{name}": expected_idle,
                f"tried.{name}": expected_sent,
                f"taken.{name}": np.where(entry["decision"] > HOLD, expected_sent, expected_idle),
            }
        for key, values in entry.items():
            parts.setdefault(key, []).append(values)
    table = {key: np.concatenate(values) for key, values in parts.items()}

    def by_outcome(prefix: str) -> dict[str, np.ndarray]:
        return {name: table[f"{prefix}.{name}"] for name in names}

    plain = {key: values for key, values in table.items() if "." not in key}
    tables: Mapping[str, dict[str, np.ndarray]] = {
        prefix: by_outcome(prefix) for prefix in ("observed", "taken", "idle", "tried")
    }
    return LoggedAnswers(**plain, **tables, fitted=fitted)  # type: ignore[arg-type]


def _chances(logging_policy: LoggingPolicyModel, seen: Observation, index: Tensor) -> Tensor:
    """Fitted probabilities at the rows. Shape [R, 1 + K], float64, rows sum to 1."""
    bias = logging_policy.content_bias(seen.catalogue.ids)
    logs = logging_policy.log_probabilities(
        seen.population.features[index], seen.state[index], seen.catalogue.features, seen.candidates[index], bias,
        seen.allowed[index],
    )  # fmt: skip
    chances = logs.double().exp()
    return chances / chances.sum(dim=1, keepdim=True)


def _drawn_contents(chances: Tensor, uniform: Tensor) -> Tensor:
    """Contents drawn as the logging policy would, given a send. Shape [R], int64."""
    cumulative = chances[:, 1:].cumsum(dim=1)
    drawn = (cumulative <= (uniform * cumulative[:, -1]).unsqueeze(1)).sum(dim=1)
    return drawn.clamp(max=chances.shape[1] - 2)


def _answers(
    model: PropensityModel, seen: Observation, index: Tensor, content: Tensor, catalogue: Catalogue
) -> tuple[Response, Response]:
    """The network's answers to a hold and to a send of `content` at the rows."""
    people, state = seen.population.features[index], seen.state[index]
    every = torch.zeros(len(seen), dtype=torch.int64)
    every[index] = content
    candidate, contents = seen.candidate(every)[index], catalogue.features[content]
    nothing = torch.zeros(len(index), dtype=torch.bool)
    idle = model.respond(people, state, contents, candidate, nothing)
    return idle, model.respond(people, state, contents, candidate, ~nothing)
