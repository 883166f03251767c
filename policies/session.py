"""Serving: what a policy decides for a table of customers, slot by slot, and what it remembers of them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from campaigns.audience import hash_uniform, make_catalogue, make_population
from campaigns.errors import CampaignError
from campaigns.guardrails import customer_blocks
from campaigns.history import HOLD
from campaigns.observation import Observation, make_calendar, observe
from policies.chooser import sample
from policies.ledger import Ledger
from policies.reports import HistoryTables, OutcomeTable

if TYPE_CHECKING:
    from policies.policy import Policy

REASONS = (
    "sent",
    "hold_chosen",
    "holdout",
    "no_consent",
    "opted_out",
    "quiet_hours",
    "cap_day",
    "cap_week",
    "spacing",
    "not_eligible",
    "content_limits",
)
"""Why a row of `decide` is as it is. `content_limits`: no content is left by spacing, caps or channel."""

SESSION_VERSION = 1


class Session:
    """Customers being served by a policy.

    Args:
        policy: what decides.
        users: N rows.
        contents: K rows.
        history: see `Policy.start`.
        seed: of the draws: policy, user and slot decide them alone, so that the same call gives the same answer
            anywhere.
    """

    def __init__(
        self,
        policy: Policy,
        users: pd.DataFrame,
        contents: pd.DataFrame,
        history: pd.DataFrame | Mapping[str, pd.DataFrame] | None,
        seed: int,
    ) -> None:
        self.policy = policy
        self.seed = seed
        self.users, self.contents = users.reset_index(drop=True), contents.reset_index(drop=True)
        self.catalogue = make_catalogue(self.contents, policy.content_encoder, policy.objective)
        policy.chooser.check(self.catalogue.ids)
        everyone = make_population(
            self.users, policy.user_encoder, self.catalogue.channels, policy.clock.timezone, policy.guardrails.holdout
        )
        self.holdout = everyone.holdout
        self.population = everyone.without_holdout()
        self.user_ids = self.users["user_id"].to_numpy()
        self._content_ids = np.array([None, *self.catalogue.ids], dtype=object)
        self._key = (hash_uniform(list(self.user_ids), f"draw-{seed}") * 2.0**53).astype(np.uint64)
        self.ledger = Ledger(self.population, self.catalogue, policy.clock)
        self.latest: int | None = None
        self._frame: pd.DataFrame | None = None
        if history is not None:
            self.latest = HistoryTables(history, self.user_ids, self.catalogue, policy.clock).fill(self.ledger)

    def decide(self, time: object, eligible: np.ndarray | None = None) -> pd.DataFrame:
        """Decides for every customer, and remembers it: a send counts until `observe` says otherwise.

        Args:
            time: start of a slot; naive is wall clock of the policy's zone.
            eligible: narrows who or what may be sent. Shape [N] or [N, K], bool, in the users' order.
        Returns:
            One row a user, in order: user_id, content_id (null = hold), action_prob, reason (one of REASONS).
        Raises:
            CampaignError: for a time off the grid or before the latest decision.
        """
        slot = self._slot(time)
        if slot == self.latest and self._frame is not None:
            return self._frame.copy()
        if self.latest is not None and slot <= self.latest:
            raise CampaignError(
                f"decide: {time} is not after the latest decision ({self.policy.clock.times([self.latest])[0]}); "
                "decide in order of time."
            )
        seen = self._observe(slot, eligible)
        chances = self.policy.probabilities_of(seen).double()
        chances = chances / chances.sum(dim=1, keepdim=True)
        decision = sample(chances, torch.from_numpy(self._uniforms(slot)))
        taken = chances.gather(1, decision.unsqueeze(1)).squeeze(1)
        decision = torch.where(self.holdout, HOLD, decision)
        taken = torch.where(self.holdout, 1.0, taken)
        reasons = self._reasons(seen, decision, eligible)
        frame = self._as_frame(self._content_ids[decision.numpy()], taken.numpy(), reasons)
        self.ledger.decide(slot, decision)
        self.latest, self._frame = slot, frame
        return frame.copy()

    def probabilities(self, time: object, eligible: np.ndarray | None = None) -> np.ndarray:
        """What `decide` would draw from, exploration included, as if nobody were held out. Reserves nothing.

        Returns:
            float64, shape [N, 1 + K]: hold, then `contents` in order; rows sum to 1.
        """
        seen = self._observe(self._slot(time), eligible)
        chances = self.policy.probabilities_of(seen).double()
        result: np.ndarray = (chances / chances.sum(dim=1, keepdim=True)).numpy()
        return result

    def observe(self, outcomes: pd.DataFrame) -> None:
        """Takes in what came of decisions.

        Args:
            outcomes: user_id, time (of the decision's slot), and any of content_id, opened, clicked, visited,
                purchased, revenue, value, unsubscribed. A missing column is unknown, not 0. With `content_id`, a
                null releases a reserved send (nothing was sent) or is an organic row. A row replaces an earlier one
                of its user and slot; rows of other users are ignored.
        Raises:
            CampaignError: for missing keys, unreadable times, or rows older than what is kept.
        """
        table = OutcomeTable(outcomes, self.user_ids, self.catalogue, self.policy.clock)
        for slot, rows, decision, happened in table.by_slot():
            self.ledger.report(slot, rows, decision, happened)

    def save(self, path: str | Path) -> Path:
        """Writes the state of all customers, so that a nightly job need not replay. Holds personal data."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        save_file({k: v.contiguous() for k, v in self.ledger.tensors().items()}, work / "state.safetensors")
        self.users.to_parquet(work / "users.parquet", index=False)
        self.contents.to_parquet(work / "contents.parquet", index=False)
        if self._frame is not None:
            self._frame.to_parquet(work / "latest.parquet", index=False)
        meta = {
            "session_version": SESSION_VERSION,
            "seed": self.seed,
            "latest": self.latest,
            "policy": self.policy.lineage.get("weights", ""),
        }
        (work / "session.json").write_text(json.dumps(meta), encoding="utf-8")
        os.chmod(work, 0o755)
        if target.exists():
            shutil.rmtree(target)
        work.rename(target)
        return target

    @staticmethod
    def resume(policy: Policy, path: Path) -> Session:
        """See `Policy.resume`."""
        file = path / "session.json"
        if not file.is_file():
            raise CampaignError(f"{path}: no session.json there; give a folder that Session.save wrote.")
        try:
            meta = json.loads(file.read_text(encoding="utf-8"))
            version = meta["session_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise CampaignError(f"{file}: not a saved session ({type(error).__name__}).") from None
        if version != SESSION_VERSION:
            raise CampaignError(f"{file}: session version {version}; this version reads {SESSION_VERSION}.")
        made_by, ours = meta["policy"], policy.lineage.get("weights", "")
        if made_by and ours and made_by != ours:
            raise CampaignError(f"{path}: saved by another policy (weights {made_by}, this one has {ours}).")
        users, contents = pd.read_parquet(path / "users.parquet"), pd.read_parquet(path / "contents.parquet")
        session = Session(policy, users, contents, None, meta["seed"])
        session.ledger.restore(load_file(path / "state.safetensors"))
        session.latest = meta["latest"]
        if (path / "latest.parquet").is_file():
            stored = pd.read_parquet(path / "latest.parquet")
            ids = stored["content_id"].astype(object)
            session._frame = session._as_frame(
                ids.where(ids.notna(), None).to_numpy(),
                stored["action_prob"].to_numpy(),
                stored["reason"].to_numpy(dtype=object),
            )
        return session

    def _as_frame(self, content: np.ndarray, action_prob: np.ndarray, reason: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(
            {"user_id": self.user_ids, "content_id": content, "action_prob": action_prob, "reason": reason}
        )

    def _slot(self, time: object) -> int:
        clock = self.policy.clock
        slot = clock.slot(time)
        if not bool(clock.on_grid(pd.DatetimeIndex([pd.Timestamp(time)]))[0]):  # type: ignore[arg-type]
            raise CampaignError(
                f"time {time} is off the grid: slots of {clock.slot_hours} h start at midnight in {clock.timezone}; "
                f"the nearest before it is {clock.times([slot])[0]}."
            )
        return slot

    def _observe(self, slot: int, eligible: np.ndarray | None) -> Observation:
        rows, contents = len(self.user_ids), len(self.catalogue)
        mask = None
        if eligible is not None:
            mask = torch.as_tensor(np.asarray(eligible))
            if mask.dtype != torch.bool or tuple(mask.shape) not in ((rows,), (rows, contents)):
                raise CampaignError(
                    f"eligible: got {mask.dtype} of shape {tuple(mask.shape)}; must be bool of shape "
                    f"({rows},) or ({rows}, {contents})."
                )
        calendar = make_calendar(self.policy.clock, self.population.zones, slot, 1)
        slots = torch.full((rows,), slot, dtype=torch.int64)
        return observe(
            self.ledger.current, slots, calendar, self.population, self.catalogue, self.policy.clock,
            self.policy.guardrails, mask,
        )  # fmt: skip

    def _reasons(self, seen: Observation, decision: Tensor, eligible: np.ndarray | None) -> np.ndarray:
        blocks = customer_blocks(
            self.policy.guardrails, seen.history, seen.slot, seen.minute, self.population, seen.clock
        )
        blocks["holdout"] = self.holdout
        if eligible is not None:
            mask = torch.as_tensor(np.asarray(eligible))
            blocks["not_eligible"] = ~(mask if mask.dim() == 1 else mask.any(dim=1))
        blocks["content_limits"] = ~seen.allowed[:, 1:].any(dim=1)
        reason = torch.full_like(seen.slot, REASONS.index("hold_chosen"))
        for name, blocked in reversed(blocks.items()):
            reason = torch.where(blocked, REASONS.index(name), reason)
        reason = torch.where(decision > HOLD, REASONS.index("sent"), reason)
        return np.array(REASONS, dtype=object)[reason.numpy()]

    def _uniforms(self, slot: int) -> np.ndarray:
        """A uniform in [0, 1) for each user: splitmix64 (Steele et al. 2014) of the user's key and the slot."""
        with np.errstate(over="ignore"):
            z = self._key + np.uint64(slot) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        return (z >> np.uint64(11)).astype(np.float64) / 2.0**53
