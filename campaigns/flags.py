"""Yes and no as people write them: 1, 1.0, true, yes; in any case, as text, number or boolean."""

from __future__ import annotations

import numpy as np
import pandas as pd

TRUE, FALSE = {"1", "1.0", "true", "t", "yes", "y"}, {"0", "0.0", "false", "f", "no", "n"}


def read_flags(series: pd.Series) -> np.ndarray:
    """Reads a column of yes and no.

    Args:
        series: N values of any type.
    Returns:
        1.0 for yes, 0.0 for no, NaN for what is missing or neither. Shape [N], float32.
    """
    if pd.api.types.is_bool_dtype(series) and not series.hasnans:
        return np.asarray(series.to_numpy(dtype=np.float32))
    text = series.astype("string").str.strip().str.lower()
    flags = np.full(len(series), np.nan, dtype=np.float32)
    flags[text.isin(TRUE).fillna(False).to_numpy(dtype=bool)] = 1.0
    flags[text.isin(FALSE).fillna(False).to_numpy(dtype=bool)] = 0.0
    return flags


def read_consent(series: pd.Series) -> np.ndarray:
    """Reads a column of consent: missing counts as given; what cannot be read protects the customer, and does not.

    Returns:
        Shape [N], bool.
    """
    given: np.ndarray = (read_flags(series) == 1) | series.isna().to_numpy(dtype=bool)
    return given
