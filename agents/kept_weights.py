"""What a training of PPO keeps, so that it can go on elsewhere or later."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from agents.sound_training import check_fits, check_seeds
from campaigns.errors import CampaignError

REWARD_SCALE = "reward_scale"
"""Its name among the tensors that are kept."""


def save_weights(policy: nn.Module, reward_scale: float | Tensor, path: Path, **more: Tensor) -> None:
    """Writes actor and critic, the scale of their rewards ([S] for S seeds), and what else there is."""
    weights = {name: values.detach().cpu().contiguous() for name, values in policy.state_dict().items()}
    save_file(weights | more | {REWARD_SCALE: torch.as_tensor(reward_scale, dtype=torch.float64)}, path)


def load_weights(policy: nn.Module, path: Path, *more: str, seeds: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """Lets a policy go on from what `save_weights` wrote, for a market of the same contents and features.

    Args:
        policy: that takes the weights.
        path: of the file.
        more: names of the other tensors that it may hold.
        seeds: S, whose weights the policy takes.
    Returns:
        The scale of each one's rewards, shape [S], float64, and those of the other tensors that are there.
    Raises:
        CampaignError: where the file is damaged, or was written for other contents, settings or another S.
    """
    try:
        weights = load_file(path)
        scale = weights.pop(REWARD_SCALE).view(-1)
    except (OSError, SafetensorError, KeyError) as error:
        raise CampaignError(f"{path}: not what a training of PPO keeps ({error}); train it again.") from None
    check_seeds(seeds, len(scale), path)
    rest = {name: weights.pop(name) for name in more if name in weights}
    check_fits(policy.state_dict(), weights, path)
    policy.load_state_dict(weights)
    return scale, rest


def write_checkpoint(parts: dict[str, object], path: Path) -> None:
    """Writes everything that the rest of a training depends on; the file appears whole or not at all."""
    part = path.with_suffix(".part")
    torch.save(parts, part)
    part.replace(path)
