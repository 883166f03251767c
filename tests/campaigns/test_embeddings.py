"""Columns of vectors become features, and lengths that differ are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.errors import CampaignError
from campaigns.logs import LogSettings, make_log, read_log, write_log
from tests.campaigns.logs_on_disk import clean_tables, write_csv


def groups(count: int = 60, length: int = 64) -> np.ndarray:
    """Unit vectors around two opposite directions. Shape [count, length]."""
    g = np.random.default_rng(0)
    centre = g.normal(size=length)
    signs = np.where(np.arange(count) % 2, 1.0, -1.0)[:, None]
    return np.asarray(signs * centre + 0.5 * g.normal(size=(count, length)))


def fitted(vectors: list[object], table: str = "contents") -> FeatureEncoder:
    """An encoder of the column `picture`."""
    return fit_encoder(frame(vectors), table)


def frame(vectors: list[object]) -> pd.DataFrame:
    """A table with the column `picture`."""
    return pd.DataFrame({"content_id": range(len(vectors)), "picture": pd.Series(vectors, dtype=object)})


def test_wide_vectors_become_few_columns_that_keep_what_differs_most() -> None:
    vectors = groups()
    encoder = fitted(list(vectors))
    assert encoder.names == [f"picture [{i}]" for i in range(1, 17)]
    rows = encoder.encode(frame(list(vectors)))
    assert np.ptp(np.sign(rows[::2, 0])) == np.ptp(np.sign(rows[1::2, 0])) == 0
    assert rows[0, 0] * rows[1, 0] < 0
    assert rows[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert fitted(list(vectors[:9])).width == 3  # a column more would make ids of nine contents


def test_narrow_vectors_are_standardised_one_by_one() -> None:
    vectors = groups(60, 3) * 100
    rows = fitted(list(vectors)).encode(frame(list(vectors)))
    assert rows == pytest.approx((vectors - vectors.mean(axis=0)) / vectors.std(axis=0), abs=1e-4)


def test_lists_arrays_tuples_and_text_of_numbers_read_alike() -> None:
    vectors = groups(12, 20).round(3)
    expected = fitted(list(vectors))
    for kind in (list, tuple, lambda v: json.dumps(v.tolist()), lambda v: str(v.tolist()).replace(",", " ")):
        values = [kind(v) for v in vectors]
        assert fitted(values) == expected
        assert np.array_equal(expected.encode(frame(values)), expected.encode(frame(list(vectors))))
    assert FeatureEncoder.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected


def test_missing_vectors_are_the_mean_and_flagged() -> None:
    vectors: list[object] = list(groups(12, 20))
    encoder = fitted([None, [], *vectors])
    rows = encoder.encode(frame([None, [], float("nan"), vectors[0]]))
    assert encoder.names[-1] == "picture missing"
    assert rows[:3].tolist() == [[0.0] * (encoder.width - 1) + [1.0]] * 3
    assert rows[3, -1] == 0
    assert rows[3, 0] != 0


def test_vectors_of_unequal_length_are_named_with_row_and_lengths() -> None:
    vectors: list[object] = [[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [1.0, 2.0], [0.0, 1.0, 0.0]]
    message = r"contents\.picture: the vector in row 2 has 2 numbers, the others have 3"
    with pytest.raises(CampaignError, match=message):
        fitted(vectors)
    tables = clean_tables()
    tables["contents"] = tables["contents"].assign(picture=vectors[: len(tables["contents"])])
    with pytest.raises(CampaignError, match=message):
        make_log(tables, LogSettings())
    encoder = fitted(list(groups(12, 20)))
    with pytest.raises(
        CampaignError, match=r"contents\.picture: vectors of 21 numbers, but the model was trained on 20"
    ):
        encoder.encode(frame(list(groups(3, 21))))
    with pytest.raises(CampaignError, match=r"contents\.picture: row 1 holds 'a cat', the others lists of numbers"):
        encoder.encode(frame([list(groups(1, 20)[0]), "a cat"]))


def test_huge_and_impossible_numbers_stay_finite() -> None:
    vectors: list[object] = [[1e300, 1.0], [-1e300, 2.0], [1.0, 3.0], [float("inf"), 0.0], [2.0, None], [0.0, 0.0]]
    for values in (vectors, vectors * 3):
        encoder = fitted(values)
        assert np.isfinite(encoder.encode(frame([*values, [3e38, -3e38]]))).all()


def test_a_log_keeps_its_vectors_through_csv_and_parquet(tmp_path: Path) -> None:
    tables = clean_tables()
    pictures = groups(len(tables["contents"]), 5).round(4).tolist()
    tables["contents"] = tables["contents"].assign(picture=pictures)
    log = make_log(tables, LogSettings())
    assert log.contents["picture"].tolist() == pictures
    again = read_log(write_log(log, tmp_path / "parquet"), LogSettings())
    assert again.contents["picture"].tolist() == pictures
    from_csv = read_log(write_csv(tables, tmp_path / "csv"), LogSettings())
    assert from_csv.contents["picture"].tolist() == pictures
    assert not log.report["rejected"]
