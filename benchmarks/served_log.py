"""A reference market in which policies serve for months: customers stay, who opts out is replaced by somebody new."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.history import HOLD
from envs.reference.market import NOISE_COLUMNS, Outcome, TruthState
from envs.reference.world import ReferenceWorld
from policies.policy import Policy
from policies.session import Session

OUTCOMES = ("opened", "clicked", "visited", "purchased", "revenue", "value", "unsubscribed")


@dataclass
class Serving:
    """A reference world on its way through the months.

    Attributes:
        world: long enough for all months; more people than are served, of whom those in reserve live on undisturbed.
        state: of all its people.
        recent: the logging policy's own count of recent sends. Shape [all people].
        rows: people who are served. Shape [N], int64.
        reserve: the next person to take the place of one who opts out.
    """

    world: ReferenceWorld
    state: TruthState
    recent: Tensor
    rows: np.ndarray
    reserve: int

    @property
    def users(self) -> pd.DataFrame:
        """The company's table of those who are served."""
        return self.world.users.iloc[self.rows].reset_index(drop=True)

    def replace_lost(self) -> None:
        """Puts people from the reserve in the places of those who opted out."""
        lost = np.flatnonzero(self.state.opted_out.numpy()[self.rows])
        come = np.arange(self.reserve, min(self.reserve + len(lost), len(self.world.users)))
        self.rows = np.concatenate([np.delete(self.rows, lost), come])
        self.reserve += len(come)


def begin_serving(world: ReferenceWorld, customers: int) -> Serving:
    """The first `customers` people of a world are served; the others are the reserve."""
    state, recent = world.warm
    return Serving(world, state, recent, np.arange(customers), customers)


def log_month(serving: Serving, slots: int, seed: int) -> pd.DataFrame:
    """The logging policy serves; returns its decisions in the log format."""
    world, parts = serving.world, []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(slots):
        noise = _noise(world, generator)
        decision, probability, eligible = world.logged_decisions(serving.state, serving.recent, noise[:, 0])
        outcome = _live(serving, decision, noise)
        rows, slot = serving.rows, int(serving.state.slot[0]) - 1
        sent = decision.numpy()[rows]
        parts.append(_rows_of(serving, slot, sent, probability.numpy()[rows], eligible.numpy()[rows], outcome))
    return pd.concat(parts, ignore_index=True)


def serve_month(serving: Serving, policy: Policy, history: pd.DataFrame, slots: int, seed: int) -> pd.DataFrame:
    """A saved policy serves, as a company would let it: its session decides, hears what came of it, and goes on.

    Args:
        serving: where.
        policy: what decides.
        history: past decisions with outcomes that the session is started with.
        slots: for how long.
        seed: of the market's chance.
    Returns:
        Decisions in the log format, with the policy's own `action_prob`.
    """
    world, parts = serving.world, []
    session = policy.start(serving.users, world.contents, history)
    index = {name: 1 + place for place, name in enumerate(world.contents["content_id"])}
    generator = torch.Generator().manual_seed(seed)
    for _ in range(slots):
        noise = _noise(world, generator)
        slot = int(serving.state.slot[0])
        frame = session.decide(world.clock.times([slot])[0])
        sent = frame["content_id"].map(index).fillna(HOLD).to_numpy(dtype=np.int64)
        decision = torch.zeros(len(world.users), dtype=torch.int64)
        decision[torch.from_numpy(serving.rows)] = torch.from_numpy(sent)
        outcome = _live(serving, decision, noise)
        free = frame["reason"].isin(("sent", "hold_chosen")).to_numpy()
        parts.append(_rows_of(serving, slot, sent, frame["action_prob"].to_numpy(), free, outcome))
        _tell(session, parts[-1])
    return pd.concat(parts, ignore_index=True)


def _noise(world: ReferenceWorld, generator: torch.Generator) -> Tensor:
    return torch.rand(len(world.users), 1 + NOISE_COLUMNS, generator=generator)


def _live(serving: Serving, decision: Tensor, noise: Tensor) -> Outcome:
    """One slot of everybody's life; people in reserve are sent nothing."""
    served = torch.zeros(len(decision), dtype=torch.bool)
    served[torch.from_numpy(serving.rows)] = True
    decision = torch.where(served, decision, HOLD)
    serving.state, outcome = serving.world.step(serving.state, decision, noise[:, 1:])
    serving.recent = serving.world.logger.remember(serving.recent, decision, serving.world.clock.slot_hours)
    return outcome


def _rows_of(
    serving: Serving, slot: int, sent: np.ndarray, probability: np.ndarray, eligible: np.ndarray, outcome: Outcome
) -> pd.DataFrame:
    names = np.array([None, *serving.world.contents["content_id"]], dtype=object)
    frame = pd.DataFrame(
        {
            "user_id": serving.world.users["user_id"].to_numpy()[serving.rows],
            "time": serving.world.clock.times([slot])[0],
            "content_id": names[sent],
            "action_prob": probability.astype(np.float64),
            "eligible": eligible,
        }
    )
    for name in OUTCOMES:
        frame[name] = getattr(outcome, name).numpy()[serving.rows]
    return frame


def _tell(session: Session, rows: pd.DataFrame) -> None:
    session.observe(rows[["user_id", "time", "content_id", *OUTCOMES]])
