"""What keeps a training honest: it stops where a number is no number, and goes on only from weights that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

from campaigns.errors import CampaignError

CONTENTS = "contents"
"""Name of the encoded contents table among a policy's tensors."""


class Watch(BaseCallback):
    """Says how far a stock algorithm is.

    Args:
        progress: called with the steps taken so far.
        check: called with the learner before every rollout; raises where it is not to go on.
    """

    def __init__(
        self, progress: Callable[[int], None] | None, check: Callable[[BaseAlgorithm], None] | None = None
    ) -> None:
        super().__init__()
        self.progress, self.check = progress, check

    def _on_step(self) -> bool:
        if self.progress is not None:
            self.progress(self.num_timesteps)
        return True

    def _on_rollout_start(self) -> None:
        if self.check is not None:
            self.check(self.model)


def broken_weight(policy: nn.Module, seeds: int = 1) -> str | None:
    """Name of the first parameter that is not finite, of several seeds with the seed; None where all are."""
    for name, values in policy.named_parameters():
        finite = values.isfinite()
        if not bool(finite.all()):
            broken = seeds > 1 and torch.nonzero(~finite.flatten(1).all(dim=1))
            return f"{name} of seed {int(broken[0]) + 1} of {seeds}" if isinstance(broken, Tensor) else name
    return None


def check_finite(
    policy: nn.Module,
    rewards: Tensor,
    decisions: int,
    checkpoint: Path | None,
    agent: str = "ppo",
    seeds: int = 1,
) -> None:
    """Stops a training at the step at which it broke.

    Args:
        policy: what was just updated.
        rewards: of the rollout that it was updated with.
        decisions: how many were taken so far.
        checkpoint: file of the last good state; None where there is none.
        agent: its name, for the message.
        seeds: how many learn side by side; then each parameter leads with them.
    Raises:
        CampaignError: naming what is not finite, the step, and what is left to go on from.
    """
    broken = broken_weight(policy, seeds)
    if not bool(rewards.isfinite().all()):
        what, cause = "rewards of the market", "its propensity network gives values that are no numbers; fit it again"
    elif broken is not None:
        what, cause = f"weights of {broken}", f"lower agent.{agent}.learning_rate"
    else:
        return
    kept = f" {checkpoint} holds the last good state." if checkpoint is not None and checkpoint.exists() else ""
    raise CampaignError(f"agent {agent}: {what} are not finite after {decisions:,} decisions; {cause}.{kept}")


def check_seeds(mine: int, stored: int, path: Path) -> None:
    """Refuses weights of another number of seeds.

    Args:
        mine: how many are to go on.
        stored: how many there were.
        path: where theirs lie.
    Raises:
        CampaignError: naming both.
    """
    if mine != stored:
        raise CampaignError(
            f"{path}: holds the weights of {stored} seed{'s' * (stored > 1)}, so that training cannot go on from it "
            f"with {mine}; say agent.ppo.seeds={stored}, or train anew."
        )


def check_fits(mine: Mapping[str, Tensor], stored: Mapping[str, Tensor], path: Path) -> None:
    """Refuses weights that were learned for other contents or features.

    Args:
        mine: tensors of the policy that is to go on.
        stored: tensors of the earlier one.
        path: where those lie.
    Raises:
        CampaignError: spelling out the difference.
    """
    told = [f"{name} is missing" for name in mine if name not in stored]
    told += [f"{name} is not known here" for name in stored if name not in mine]
    for name in mine.keys() & stored.keys():
        ours, theirs = tuple(mine[name].shape), tuple(stored[name].shape)
        if ours != theirs:
            told.append(f"{name} has shape {theirs} there and {ours} here")
        elif name == CONTENTS and not torch.allclose(mine[name].cpu(), stored[name].cpu(), atol=1e-5):
            rows = torch.nonzero((mine[name].cpu() - stored[name].cpu()).abs().amax(dim=1) > 1e-5).flatten().tolist()
            told.append(f"contents in rows {', '.join(str(row) for row in rows[:5])} have other features")
    if told:
        raise CampaignError(
            f"{path}: learned for another contents table, other features or other settings, so that training cannot go "
            f"on from it: {'; '.join(sorted(told)[:4])}. Train anew, or restore the table and settings of then."
        )
