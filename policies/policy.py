"""A policy: what chooses, how it serves, within which rules, and where it came from. Saved without pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from campaigns.audience import knows_channels
from campaigns.clock import SlotClock
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError
from campaigns.features import STATE_FEATURES, candidate_names
from campaigns.guardrails import Guardrails
from campaigns.history import HOLD
from campaigns.objective import Objective
from campaigns.observation import Observation
from policies.chooser import Chooser, best_allowed, one_hot, restore_chooser, rows_of
from policies.folders import digest, written_folder

if TYPE_CHECKING:
    from policies.session import Session

SCHEMA_VERSION = 1
MODES = ("sampled", "greedy")
MARKER, WEIGHTS = "policy.json", "weights.safetensors"


@dataclass(frozen=True)
class Policy:
    """A probability over hold and contents, after guardrails, in the mode in which it serves.

    Attributes:
        name: in reports.
        chooser: what decides.
        incumbent: what exploration draws from; None where there is none.
        user_encoder, content_encoder: how tables become numbers.
        guardrails: hard rules, already narrowed by what the log supports.
        objective: what it was made for.
        clock: the decision grid.
        mode: `sampled` (as the chooser's probabilities say) or `greedy` (their maximum).
        exploration: share of eligible decisions drawn from the incumbent, so that the next log can be evaluated.
        seed: of the draws.
        attribution_hours: how long after a send the log's events were credited to it, in hours; histories too.
        recommended: whether the run that made it recommends it.
        lineage: hashes of what it was made from.
    """

    name: str
    chooser: Chooser
    incumbent: Chooser | None
    user_encoder: FeatureEncoder
    content_encoder: FeatureEncoder
    guardrails: Guardrails
    objective: Objective
    clock: SlotClock
    mode: str = "sampled"
    exploration: float = 0.02
    seed: int = 0
    attribution_hours: float = 24.0
    recommended: bool = False
    lineage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise CampaignError(f"policy.mode={self.mode!r}: must be one of {', '.join(MODES)}.")
        if not 0 <= self.exploration < 1:
            raise CampaignError(f"policy.exploration={self.exploration}: must be a share from 0 to below 1.")

    @property
    def carries(self) -> bool:
        """Whether anything is carried for each customer from slot to slot; see `policies.following`."""
        return self.chooser.carries

    def carry(self, observation: Observation) -> Tensor:
        """What is carried from this slot on. Shape [N, C], int64."""
        return self.chooser.carry(observation)

    def probabilities_of(self, observation: Observation) -> Tensor:
        """What serving does: mode and exploration included. Shape [N, 1 + K], float32, rows sum to 1."""
        rows = torch.nonzero(observation.allowed[:, 1:].any(dim=1)).squeeze(1)
        if len(rows) == len(observation):
            return self._choose(observation)
        # Where nothing may be sent, every chooser holds: there is nothing to compute.
        chances = torch.zeros(observation.allowed.shape, device=observation.allowed.device)
        chances[:, HOLD] = 1.0
        if len(rows):
            chances[rows] = self._choose(rows_of(observation, rows))
        return chances

    def _choose(self, observation: Observation) -> Tensor:
        chosen = self.chooser.probabilities(observation)
        if self.mode == "greedy":
            chosen = one_hot(best_allowed(chosen, observation.allowed), chosen.shape[1])
        if self.incumbent is None or not self.exploration:
            return chosen
        return (1.0 - self.exploration) * chosen + self.exploration * self.incumbent.probabilities(observation)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of all that decides what it does: whatever is served alike has it alike, saved or not."""
        told = {k: v for k, v in self._to_dict("").items() if k not in {"name", "recommended", "seed", "lineage"}}
        sha = hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode())
        for name, tensor in sorted(self._tensors().items()):
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()[:16]

    def start(
        self,
        users: pd.DataFrame,
        contents: pd.DataFrame,
        history: pd.DataFrame | Mapping[str, pd.DataFrame] | None = None,
        seed: int | None = None,
    ) -> Session:
        """Begins to serve these customers with these contents.

        Args:
            users: N rows; may be other customers than in training, with the trained feature columns.
            contents: K rows; may be other contents than in training.
            history: past decisions with outcomes, or `{"decisions": ..., "events": ...}`.
            seed: overrides the policy's own.
        Raises:
            CampaignError: for missing columns, repeated ids, or contents that the policy cannot serve.
        """
        from policies.session import Session

        return Session.begin(self, users, contents, history, self.seed if seed is None else seed)

    def resume(self, path: str | Path) -> Session:
        """Goes on with a session that `Session.save` wrote.

        Raises:
            CampaignError: where the folder is no saved session, is damaged, or another policy saved it.
        """
        from policies.saved_session import load_session

        return load_session(self, Path(path))

    def with_mode(self, mode: str) -> Policy:
        """The same policy in another mode."""
        return replace(self, mode=mode)

    def save(self, folder: str | Path) -> Path:
        """Writes `policy.json` and `weights.safetensors`; the folder appears whole or not at all.

        Raises:
            CampaignError: where the path holds something else than a policy.
        """
        target = Path(folder)
        with written_folder(target, MARKER) as work:
            save_file(self._tensors(), work / WEIGHTS)
            text = json.dumps(self._to_dict(digest(work / WEIGHTS)), indent=2, ensure_ascii=False)
            (work / MARKER).write_text(text, encoding="utf-8")
        return target

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"chooser.{k}": v for k, v in self.chooser.tensors().items()}
        if self.incumbent is not None:
            tensors |= {f"incumbent.{k}": v for k, v in self.incumbent.tensors().items()}
        return {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}

    def _to_dict(self, weights: str) -> dict[str, Any]:
        def chooser(part: Chooser | None) -> dict[str, Any] | None:
            return None if part is None else {"kind": part.kind, "settings": part.settings()}

        told = knows_channels(self.content_encoder)
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "recommended": self.recommended,
            "mode": self.mode,
            "exploration": self.exploration,
            "seed": self.seed,
            "attribution_hours": self.attribution_hours,
            "objective": asdict(self.objective),
            "guardrails": asdict(self.guardrails),
            "clock": asdict(self.clock),
            "features": {"state": list(STATE_FEATURES), "candidate": list(candidate_names(told))},
            "user_encoder": self.user_encoder.to_dict(),
            "content_encoder": self.content_encoder.to_dict(),
            "chooser": chooser(self.chooser),
            "incumbent": chooser(self.incumbent),
            "lineage": {**self.lineage, "weights": weights},
        }


def load_policy(folder: str | Path) -> Policy:
    """Loads a saved policy. Nothing is unpickled.

    Raises:
        CampaignError: where the folder holds no policy, one of a newer version, one made for other features, or one
            whose weights do not match their hash.
    """
    path = Path(folder)
    stored = _read_settings(path)
    file, weights = path / MARKER, path / WEIGHTS
    try:
        if not weights.is_file() or digest(weights) != stored["lineage"]["weights"]:
            raise CampaignError(f"{weights}: missing or not the file that {MARKER} was written with; copy both again.")
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CampaignError(f"{weights}: not readable ({error}).") from None
    except (KeyError, TypeError) as error:
        raise _damaged(file, error) from None

    def chooser(part: str) -> Chooser | None:
        entry = stored[part]
        if entry is None:
            return None
        own = {k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{part}.")}
        return restore_chooser(entry["kind"], entry["settings"], own)

    try:
        main = chooser("chooser")
        if main is None:
            raise CampaignError(f"{file}: it names no chooser.")
        return Policy(
            name=str(stored["name"]),
            chooser=main,
            incumbent=chooser("incumbent"),
            user_encoder=FeatureEncoder.from_dict(stored["user_encoder"]),
            content_encoder=FeatureEncoder.from_dict(stored["content_encoder"]),
            guardrails=Guardrails(**stored["guardrails"]),
            objective=Objective(**stored["objective"]),
            clock=SlotClock(**stored["clock"]),
            mode=stored["mode"],
            exploration=stored["exploration"],
            seed=stored["seed"],
            attribution_hours=stored["attribution_hours"],
            recommended=stored["recommended"],
            lineage=stored["lineage"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _damaged(file, error) from None


def _read_settings(path: Path) -> dict[str, Any]:
    file = path / MARKER
    if not file.is_file():
        raise CampaignError(f"{path}: no {MARKER} there; give the folder of a saved policy.")
    try:
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = stored["schema_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{file}: not a policy ({type(error).__name__}: {error}).") from None
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        remedy = "A newer version wrote it: update this one." if newer else "Export it again."
        raise CampaignError(f"{file}: schema version {version!r}; this version reads {SCHEMA_VERSION}. {remedy}")
    try:
        told = knows_channels(FeatureEncoder.from_dict(stored["content_encoder"]))
        for spec, ours in (("state", STATE_FEATURES), ("candidate", candidate_names(told))):
            theirs = stored["features"][spec]
            if theirs != list(ours):
                differing = sorted(set(theirs) ^ set(ours)) or ["the same in another order"]
                raise CampaignError(f"{file}: made for other {spec} features ({', '.join(differing)}); train it again.")
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, error) from None
    return stored


def _damaged(file: Path, error: Exception) -> CampaignError:
    told = str(error).strip().split("\n")[0][:200]
    return CampaignError(f"{file}: damaged ({type(error).__name__}: {told}); copy the policy again or export it again.")
