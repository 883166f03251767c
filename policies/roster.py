"""Whom a session serves, with what: the callers' ids beside the tensors that everything else works on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from campaigns.audience import Catalogue, Population, make_catalogue, make_population
from campaigns.clock import is_timezone
from campaigns.columns import plain_name
from campaigns.errors import CampaignError
from campaigns.flags import read_flags
from campaigns.history import HOLD
from campaigns.ids import id_keys, rows_of

if TYPE_CHECKING:
    from policies.policy import Policy

NOTES = logging.getLogger("campaign")


class Ids:
    """Ids of one table, found again in others whatever their type there.

    Args:
        ids: without missing or repeated values; its name is the column's. Length N.
        table: named in errors.
    Raises:
        CampaignError: where an id is neither text nor a number.
    """

    def __init__(self, ids: pd.Series, table: str) -> None:
        self.series = ids.reset_index(drop=True)
        self.table = table
        self._index = pd.Index(_plain(self.series))

    def __len__(self) -> int:
        return len(self.series)

    def rows(self, wanted: pd.Series, table: str) -> np.ndarray:
        """Row of each wanted id, -1 where it is not there or missing.

        An id that is not there as it is typed is looked for as text: "7" finds 7, as a table that went through CSV
        would have it, and so does 7.0, which is what a column of integers with gaps becomes.

        Args:
            wanted: ids of any type. Shape [R].
            table: in which they stand, named in errors.
        Returns:
            int64, shape [R].
        """
        values = _plain(wanted)
        try:
            found = np.array(self._index.get_indexer(pd.Index(values)), dtype=np.int64)
        except TypeError:  # lists and the like: `id_keys` says so
            found = np.full(len(values), -1, dtype=np.int64)
        lost = np.flatnonzero((found < 0) & values.notna().to_numpy(dtype=bool))
        if len(lost):
            keys = id_keys(values.iloc[lost], table)
            if self._keys is not None:
                found[lost] = rows_of(keys, self._keys)
        return found

    @cached_property
    def _keys(self) -> np.ndarray | None:
        keys = id_keys(self.series, self.table)
        return keys if len(set(keys)) == len(keys) else None  # 7 beside "7": only their types tell them apart


@dataclass(frozen=True)
class Roster:
    """N customers and K contents being served.

    Attributes:
        users: ids of the customers, in order.
        contents: ids of the contents, in order.
        population: the customers, nobody held out.
        holdout: who is. Shape [N], bool.
        catalogue: the contents.
    """

    users: Ids
    contents: Ids
    population: Population
    holdout: Tensor
    catalogue: Catalogue

    def __len__(self) -> int:
        return len(self.users)

    def decisions(self, content_ids: pd.Series, table: str) -> np.ndarray:
        """HOLD for a missing id, 1 + row of the content, or 1 + K where it is not listed. int64."""
        rows = self.contents.rows(content_ids, table)
        codes = np.where(rows >= 0, rows + 1, 1 + len(self.contents))
        return np.where(content_ids.isna().to_numpy(dtype=bool), HOLD, codes).astype(np.int64)


def make_roster(policy: Policy, users: pd.DataFrame, contents: pd.DataFrame) -> Roster:
    """Reads the tables that a policy is to serve.

    Args:
        policy: its encoders, clock and guardrails are used.
        users, contents: see `Policy.start`.
    Raises:
        CampaignError: for anything but tables, missing columns, missing or repeated ids.
    """
    users, contents = as_table(users, "users"), as_table(contents, "contents")
    catalogue = make_catalogue(contents, policy.content_encoder, policy.objective)
    _note_consent(users, catalogue.channels)
    _note_unknown_zones(users, policy.clock.timezone)
    everyone = make_population(
        users, policy.user_encoder, catalogue.channels, policy.clock.timezone, policy.guardrails.holdout
    )
    ids = Ids(users["user_id"], "users"), Ids(contents["content_id"], "contents")
    return Roster(*ids, everyone.without_holdout(), everyone.holdout, catalogue)


def as_table(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with a plain row index.

    Raises:
        CampaignError: where it is no DataFrame, or two of its columns share a name.
    """
    if not isinstance(frame, pd.DataFrame):
        raise CampaignError(f"{name}: got {type(frame).__name__}; give a pandas DataFrame.")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise CampaignError(f"{name}: column {repeated[0]!r} is there more than once; keep one of them.")
    return frame.reset_index(drop=True)


def _note_consent(users: pd.DataFrame, channels: tuple[str, ...]) -> None:
    columns = {plain_name(str(column)): column for column in users.columns}
    others = [name for name in columns if name.startswith("consent_") and name.removeprefix("consent_") not in channels]
    for channel in channels:
        column = columns.get(plain_name(f"consent_{channel}"))
        if column is None:
            told = f"; no content goes by the channel of {', '.join(others)}" if others else ""
            NOTES.warning("users: no column consent_%s; consent is taken as given%s.", channel, told)
            continue
        missing, flags = users[column].isna().to_numpy(dtype=bool), read_flags(users[column])
        if missing.any():
            NOTES.warning("users.%s: missing for %d customers, taken as given.", column, int(missing.sum()))
        unreadable = np.flatnonzero(np.isnan(flags) & ~missing)
        if len(unreadable):
            NOTES.warning(
                "users.%s: %r and %d more are neither yes nor no; no consent is assumed.",
                column, users[column].iloc[unreadable[0]], len(unreadable) - 1,
            )  # fmt: skip


def _note_unknown_zones(users: pd.DataFrame, timezone: str) -> None:
    if "timezone" not in users.columns:
        return
    unknown = [name for name in users["timezone"].dropna().unique() if not is_timezone(name)]
    if unknown:
        NOTES.warning(
            "users.timezone: %r is no IANA time zone (%d such names); %s is used.", unknown[0], len(unknown), timezone
        )


def _plain(ids: pd.Series) -> pd.Series:
    """The ids themselves, where they come as a categorical."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        return ids.astype(object if ids.hasnans else ids.dtype.categories.dtype)
    return ids
