"""Customers and contents as tensors: who can be reached, on which clock, with what, at what cost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from campaigns.clock import is_timezone
from campaigns.columns import plain_name
from campaigns.encoding import FeatureEncoder
from campaigns.errors import CampaignError
from campaigns.flags import read_consent
from campaigns.ids import id_keys
from campaigns.objective import Objective
from campaigns.rowwise import overwrite_rows


@dataclass(frozen=True)
class Catalogue:
    """The K contents that can be sent, in the order of the contents table.

    Attributes:
        ids: content ids, as the caller typed them. Length K.
        features: encoded attributes. Shape [K, Fx], float32.
        category: index into `categories`. Shape [K], int64.
        channel: index into `channels`. Shape [K], int64.
        cost: of one send, in currency. Shape [K], float32.
        categories: names, length C (one, "all", where the table has no `category` column).
        channels: names, length M.
        tells_channels: whether candidate-relative features tell how the channel of each content was used (see
            `campaigns.features`): where what was trained on went by several channels, see `knows_channels`.
    """

    ids: tuple[object, ...]
    features: Tensor
    category: Tensor
    channel: Tensor
    cost: Tensor
    categories: tuple[str, ...]
    channels: tuple[str, ...]
    tells_channels: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Catalogue:
        """The same catalogue on another device."""
        return replace(
            self,
            features=self.features.to(device),
            category=self.category.to(device),
            channel=self.channel.to(device),
            cost=self.cost.to(device),
        )


@dataclass(frozen=True)
class Population:
    """N customers, in the order of the users table.

    Attributes:
        features: encoded columns. Shape [N, Fu], float32.
        zone: index into `zones`. Shape [N], int64.
        consent: whether the customer may be reached on each channel. Shape [N, M], bool.
        holdout: whether a stable hash of the id keeps the customer out of every send. Shape [N], bool.
        zones: IANA names of the customers' clocks.
        group: number of the group that a customer shares with others, such as a household: never split between
            fitting and judging. Shape [N], int64; None where everybody stands alone.
    """

    features: Tensor
    zone: Tensor
    consent: Tensor
    holdout: Tensor
    zones: tuple[str, ...]
    group: Tensor | None = None

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def units(self) -> Tensor:
        """What is split and drawn as one: groups, or else single customers. Shape [N], int64."""
        return torch.arange(len(self), device=self.features.device) if self.group is None else self.group

    def take(self, rows: Tensor) -> Population:
        """The customers at `rows` (int64 or bool mask), in that order."""
        return replace(
            self,
            features=self.features[rows],
            zone=self.zone[rows],
            consent=self.consent[rows],
            holdout=self.holdout[rows],
            group=None if self.group is None else self.group[rows],
        )

    def overwrite(self, rows: Tensor, others: Population) -> None:
        """Puts `others`, of the same zones, into `rows`; see `campaigns.rowwise`."""
        overwrite_rows(self, rows, others, ("features", "zone", "consent", "holdout", "group"))

    def without_holdout(self) -> Population:
        """The same customers with nobody held out: what values are computed on."""
        return replace(self, holdout=torch.zeros_like(self.holdout))

    def to(self, device: torch.device | str) -> Population:
        """The same customers on another device."""
        return replace(
            self,
            features=self.features.to(device),
            zone=self.zone.to(device),
            consent=self.consent.to(device),
            holdout=self.holdout.to(device),
            group=None if self.group is None else self.group.to(device),
        )


def decision_costs(catalogue: Catalogue) -> Tensor:
    """What each decision costs, hold first. Shape [1 + K], float32, in currency."""
    return torch.cat([catalogue.cost.new_zeros(1), catalogue.cost])


def make_catalogue(contents: pd.DataFrame, encoder: FeatureEncoder, objective: Objective) -> Catalogue:
    """Reads a contents table.

    Args:
        contents: K rows with `content_id`, the trained feature columns, optional `category`, `channel`, `cost`.
        encoder: fitted on the training contents.
        objective: its `send_cost` stands in where `cost` is missing.
    Raises:
        CampaignError: when the table is empty, an id is missing or repeated, or a trained column is missing.
    """
    ids = checked_ids(contents, "contents", "content_id")
    if not ids:
        raise CampaignError("contents: the table is empty; at least one content is needed.")
    category, categories = _codes(contents, "category", "all")
    channel, channels = _codes(contents, "channel", "push")
    cost = np.full(len(ids), objective.send_cost)
    if "cost" in contents.columns:
        given = pd.to_numeric(contents["cost"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        cost = np.where(np.isfinite(given), given, cost)
    return Catalogue(
        ids=tuple(ids),
        features=torch.from_numpy(encoder.encode(contents)),
        category=category,
        channel=channel,
        cost=torch.tensor(cost, dtype=torch.float32),
        categories=categories,
        channels=channels,
        tells_channels=knows_channels(encoder),
    )


def knows_channels(encoder: FeatureEncoder) -> bool:
    """Whether the contents that an encoder was fitted on went by several channels.

    What was trained on them is told how each channel was used, whatever it serves later; what was trained on one
    channel is not, since its sends are all sends.
    """
    return any(column.name == "channel" and len(column.levels) > 1 for column in encoder.columns)


def make_population(
    users: pd.DataFrame, encoder: FeatureEncoder, channels: tuple[str, ...], timezone: str, holdout: float
) -> Population:
    """Reads a users table.

    Args:
        users: N rows with `user_id`, the trained feature columns, optional `timezone`, `group_id` and
            `consent_CHANNEL`. A missing or unknown zone counts as the grid's; a missing consent as given, an
            unreadable one as refused; a customer without a group stands alone.
        encoder: fitted on training customers.
        channels: the catalogue's M channels.
        timezone: the grid's own zone.
        holdout: share of customers, chosen by a stable hash of the id, that are never sent anything.
    Raises:
        CampaignError: when an id is missing or repeated, or a trained column is missing.
    """
    ids = checked_ids(users, "users", "user_id")
    zone_names = [timezone] * len(ids)
    if "timezone" in users.columns:
        known = {name: name if is_timezone(name) else timezone for name in users["timezone"].dropna().unique()}
        zone_names = [known.get(name, timezone) for name in users["timezone"]]
    zones = tuple(dict.fromkeys([timezone, *sorted(set(zone_names))]))
    zone_index = {name: index for index, name in enumerate(zones)}
    consent = np.ones((len(ids), len(channels)), dtype=bool)
    columns = {plain_name(str(column)): column for column in users.columns}
    for index, channel in enumerate(channels):
        column = columns.get(plain_name(f"consent_{channel}"))
        if column is not None:
            consent[:, index] = read_consent(users[column])
    return Population(
        features=torch.from_numpy(encoder.encode(users)),
        zone=torch.tensor([zone_index[name] for name in zone_names], dtype=torch.int64),
        consent=torch.from_numpy(consent),
        holdout=torch.from_numpy(held_out(ids, holdout)),
        zones=zones,
        group=torch.from_numpy(groups_of(users)) if "group_id" in users.columns else None,
    )


def held_out(ids: list[object], share: float) -> np.ndarray:
    """Who is held out: a stable hash of each of N ids. Shape [N], bool."""
    out: np.ndarray = hash_uniform(ids, "holdout") < share
    return out


def groups_of(users: pd.DataFrame) -> np.ndarray:
    """Number of each customer's group, from 0 in order of appearance; whoever has none is a group alone.

    Args:
        users: N rows with `group_id`.
    Returns:
        Shape [N], int64.
    """
    keys = id_keys(users["group_id"], "users")
    labels = np.where(pd.isna(keys), np.arange(len(keys)), keys)  # a row's number, which is no text, equals no key
    codes, _ = pd.factorize(labels)
    return np.asarray(codes, dtype=np.int64)


def hash_uniform(ids: list[object], salt: str) -> np.ndarray:
    """A number in [0, 1) for each id that depends on the id and the salt alone, on any machine.

    Args:
        ids: N ids; 7 and "7" hash alike, so that a CSV and a Parquet of one table agree.
        salt: what the number is for.
    Returns:
        float64, shape [N].
    """
    key = hashlib.sha256(salt.encode()).digest()[:16]
    digests = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8, key=key).digest() for i in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64


def checked_ids(frame: pd.DataFrame, table: str, column: str) -> list[object]:
    """The ids of a table, which must be there, known and unique.

    Raises:
        CampaignError: naming the table and the first offending rows.
    """
    if column not in frame.columns:
        raise CampaignError(
            f"{table}: column {column} is missing; the table has {', '.join(map(str, frame.columns)) or 'no columns'}."
        )
    if list(frame.columns).count(column) > 1:
        raise CampaignError(f"{table}: column {column} occurs more than once; keep one of them.")
    ids = frame[column]
    id_keys(ids, table)  # refuses what can be no id
    if ids.isna().any():
        rows = np.flatnonzero(ids.isna().to_numpy())[:5].tolist()
        raise CampaignError(f"{table}.{column}: missing in row(s) {rows}; every row needs an id.")
    repeated = ids.duplicated()
    if repeated.any():
        first = ids[repeated].iloc[0]
        raise CampaignError(f"{table}.{column}: {first!r} occurs more than once; ids must be unique.")
    return list(ids)


def _codes(frame: pd.DataFrame, column: str, default: str) -> tuple[Tensor, tuple[str, ...]]:
    if column not in frame.columns:
        return torch.zeros(len(frame), dtype=torch.int64), (default,)
    names = frame[column].astype("string").str.strip().fillna(default)
    if column == "channel":
        names = names.str.lower()  # consent_push binds the channel "Push" too
    levels = tuple(sorted(names.unique()))
    codes = pd.Categorical(names, categories=list(levels)).codes.astype(np.int64)
    return torch.from_numpy(codes.copy()), levels
