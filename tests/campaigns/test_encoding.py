"""Features become finite numbers, whatever a column holds, and what preparation did is told."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.encoding import MAX_LEVELS, FeatureEncoder, fit_encoder
from campaigns.errors import CampaignError

N = 60


def fitted(column: object) -> FeatureEncoder:
    """An encoder of one column, `x`."""
    return fit_encoder(pd.DataFrame({"user_id": range(N), "x": column}), "users")


def encoded(encoder: FeatureEncoder, *values: object) -> list[list[float]]:
    """Rows of `x`, encoded."""
    rows = encoder.encode(pd.DataFrame({"x": pd.Series(list(values))}))
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    return rows.tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([5.0] * N, "constant or empty"),
        ([np.nan] * N, "constant or empty"),
        ([np.inf] * N, "constant or empty"),
        (["same"] * N, "constant or empty"),
        (pd.Series([None] * N, dtype=object), "constant or empty"),
        ([True] * N, "constant or empty"),
        ([f"name {i}" for i in range(N)], "another text in every row"),
        ([[1, 2]] * N, "constant or empty"),
        ([["a", "b"]] * N, "lists of other things"),
        ([[]] * N, "constant or empty"),
        (pd.date_range("2025-01-01", periods=N), "a time stamp"),
    ],
)
def test_columns_that_tell_nothing_are_left_out_with_a_note(column: object, why: str) -> None:
    encoder = fitted(column)
    assert encoder.width == 0
    assert encoder.encode(pd.DataFrame({"y": [1, 2]})).shape == (2, 0)
    assert any(why in note for note in encoder.notes)


def test_contents_without_attributes_are_told_apart_by_their_ids() -> None:
    for ids in (["a", "b"], [1, 2], [7]):
        contents = pd.DataFrame({"content_id": ids, "colour": "red"})
        encoder = fit_encoder(contents, "contents")
        assert np.array_equal(encoder.encode(contents), np.eye(len(ids)))
        assert any("their ids do" in note for note in encoder.notes)
        assert not encoder.encode(pd.DataFrame({"content_id": ["new"]})).any()
    assert fit_encoder(pd.DataFrame({"content_id": [1, 2], "price": [1, 2]}), "contents").names == ["price"]


def test_missing_and_infinite_numbers_become_the_mean_and_a_flag() -> None:
    encoder = fitted([1.0, 2.0, 3.0, np.nan, np.inf] * 12)
    assert encoder.names == ["x", "x missing"]
    assert encoded(encoder, np.nan, -np.inf, 2.0) == [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    assert any("missing in 24 rows" in note for note in encoder.notes)


def test_numbers_beyond_the_trained_range_count_as_its_end() -> None:
    encoder = fitted(np.arange(N, dtype=float))
    assert encoded(encoder, -1e9, 1e300) == encoded(encoder, 0.0, N - 1.0)


@pytest.mark.parametrize("huge", [1e300, -1e308, 10**300, 2**70])
def test_one_huge_number_does_not_drown_the_others(huge: float) -> None:
    values = pd.Series([*range(N - 1), huge], dtype=object)
    encoder = fitted(pd.to_numeric(values.map(float)))
    low, high = (row[0] for row in encoded(encoder, 0, N - 2))
    assert high - low > 1.0
    assert any("outliers clipped" in note for note in encoder.notes)


def test_columns_of_huge_numbers_alone_stay_finite() -> None:
    encoder = fitted(np.linspace(-1.0, 1.0, N) * 1.7e308)
    assert np.isfinite(encoder.encode(pd.DataFrame({"x": [-1e308, 0.0, 1e308, np.nan]}))).all()


def test_a_rare_flag_is_no_outlier() -> None:
    encoder = fitted([1.0] + [0.0] * (N - 1))
    no, yes = (row[0] for row in encoded(encoder, 0, 1))
    assert yes > 5 > no
    assert not any("outliers" in note for note in encoder.notes)


def test_unseen_and_missing_levels_are_all_zeros_and_numbers_as_levels_read_alike() -> None:
    encoder = fitted(pd.Series(["1", "2", "b"] * 20, dtype=object))
    assert encoded(encoder, "1", "c", None) == [[1.0, 0.0, 0.0], [0.0] * 3, [0.0] * 3]
    assert encoded(encoder, 1, 2) == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert encoded(encoder, 1.0, np.nan) == [[1.0, 0.0, 0.0], [0.0] * 3]


def test_only_the_most_frequent_levels_get_a_column() -> None:
    encoder = fitted(["often", "often"] * 10 + [f"level {i}" for i in range(N - 20)])
    assert encoder.width == MAX_LEVELS
    assert "x=often" in encoder.names
    assert any(f"the {MAX_LEVELS} most frequent are kept" in note for note in encoder.notes)


def test_a_flag_reads_alike_as_boolean_number_and_text() -> None:
    encoder = fitted([True, False] * (N // 2))
    expected = encoded(encoder, True, False)
    for yes, no in ((1, 0), (1.0, 0.0), ("True", "False"), ("yes", "no"), ("1", "0")):
        assert encoded(encoder, yes, no) == expected, yes
    assert encoded(encoder, True, None, "perhaps") == [expected[0], [0.0], [0.0]]


def test_a_lacking_or_doubled_column_is_named() -> None:
    encoder = fitted(np.arange(N))
    with pytest.raises(CampaignError, match=r"users: missing feature column\(s\) x .* the table has y"):
        encoder.encode(pd.DataFrame({"y": [1]}))
    with pytest.raises(CampaignError, match="users: column x occurs more than once"):
        encoder.encode(pd.DataFrame([[1, 2]], columns=["x", "x"]))


VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(-(2**64), 2**64), st.text(max_size=5), st.just("12"),
)  # fmt: skip


@settings(max_examples=80, deadline=None, derandomize=True)
@given(trained=st.lists(VALUES, min_size=2, max_size=30), served=st.lists(VALUES, min_size=1, max_size=10))
def test_any_column_encodes_to_finite_numbers_and_the_encoder_survives_json(
    trained: list[object], served: list[object]
) -> None:
    for dtype in (object, None):
        try:
            frame = pd.DataFrame({"x": pd.Series(trained, dtype=dtype)})
        except (OverflowError, TypeError, ValueError):  # pandas itself refuses such a column
            continue
        encoder = fit_encoder(frame, "users")
        again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
        assert again == encoder
        for table in (frame, pd.DataFrame({"x": pd.Series(served, dtype=object)})):
            rows = again.encode(table)
            assert rows.shape == (len(table), encoder.width)
            assert np.isfinite(rows).all()
