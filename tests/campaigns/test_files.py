"""Files as programs and people write them read alike, or are refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from campaigns.errors import CampaignError
from campaigns.grid import make_grid
from campaigns.log_reader import read_table
from campaigns.logs import CampaignLog, LogSettings, make_log, read_log, write_log
from tests.campaigns.logs_on_disk import clean_tables, write_csv, write_parquet

EXACT = LogSettings(max_rejected=0.0)


def assert_same_log(log: CampaignLog, expected: CampaignLog) -> None:
    """The two logs say the same."""
    ours, theirs = make_grid(log), make_grid(expected)
    assert ours.first_slot == theirs.first_slot
    np.testing.assert_array_equal(ours.decision, theirs.decision)
    for name, values in theirs.outcomes.items():
        np.testing.assert_allclose(ours.outcomes[name], values, rtol=1e-5, err_msg=name)
    assert list(log.users["user_id"]) == list(expected.users["user_id"])
    for column in ("age", "income"):
        np.testing.assert_allclose(log.users[column].astype(float), expected.users[column].astype(float))
    assert list(log.users["segment"]) == list(expected.users["segment"])


@pytest.mark.parametrize(
    ("how", "encoding"),
    [
        ({}, "utf-8"),
        ({}, "utf-8-sig"),
        ({}, "utf-16"),
        ({"sep": ";"}, "utf-8-sig"),
        ({"sep": ";", "decimal": ","}, "utf-8"),
        ({"sep": "\t", "decimal": ","}, "utf-16"),
        ({"sep": "|"}, "utf-8"),
        ({"lineterminator": "\r\n"}, "utf-8"),
        ({"quoting": 1}, "utf-8"),
        ({"sep": ";", "quoting": 1, "lineterminator": "\r\n", "decimal": ","}, "utf-8-sig"),
        ({"date_format": "%d.%m.%Y %H:%M"}, "utf-8"),
        ({"date_format": "%Y-%m-%dT%H:%M:%SZ"}, "utf-8"),
    ],
)
def test_any_dialect_of_csv_reads_like_the_tables(tmp_path: Path, how: dict[str, object], encoding: str) -> None:
    tables = clean_tables()
    assert_same_log(read_log(write_csv(tables, tmp_path, encoding, **how), EXACT), make_log(tables, EXACT))


def test_excels_separator_line_blank_lines_and_row_numbers_are_passed_over(tmp_path: Path) -> None:
    tables = clean_tables()
    write_csv(tables, tmp_path)
    users = tables["users"].to_csv(sep=";")  # with pandas' row numbers in a column without a name
    first, rest = users.split("\n", 1)
    (tmp_path / "users.csv").write_text(f"sep=;\n{first}\n\n{rest}\n\n", encoding="utf-8")
    log = read_log(tmp_path, EXACT)
    assert_same_log(log, make_log(tables, EXACT))
    assert not any("Unnamed" in str(column) or not str(column).strip() for column in log.users.columns)


def test_quoted_newlines_separators_and_emoji_stay_in_their_field(tmp_path: Path) -> None:
    tables = clean_tables()
    tables["users"]["user_id"] = tables["users"]["user_id"].replace("u000", "Zoë 名前🙂")
    tables["users"]["Größe"] = "a, b;\nc"
    tables["decisions"]["user_id"] = tables["decisions"]["user_id"].replace("u000", "Zoë 名前🙂")
    log = read_log(write_csv(tables, tmp_path), EXACT)
    assert_same_log(log, make_log(tables, EXACT))
    assert set(log.users["Größe"]) == {"a, b;\nc"}


def test_one_letter_written_in_two_ways_is_one_customer(tmp_path: Path) -> None:
    tables = clean_tables()
    tables["users"]["user_id"] = tables["users"]["user_id"].replace("u000", "Zoe\u0308")
    tables["decisions"]["user_id"] = tables["decisions"]["user_id"].replace("u000", "Zo\u00eb")
    assert len(read_log(write_csv(tables, tmp_path), EXACT).decisions) == len(tables["decisions"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"users\.csv: the file is empty"),
        (b"\n \n", r"users\.csv: the file is empty"),
        (b"user_id,age\n", "users: the table is empty"),
        (b"user_id,age\nu000,1\nu001\n", r"users\.csv: row 1 \(line 3\) has 1 fields, the header has 2.*truncated"),
        (b"user_id,age\nu000,1,2\n", r"users\.csv: row 0 \(line 2\) has 3 fields"),
        (b'user_id,age\n"u000,1\nu001,2\n', r"users\.csv: row 0 .* has 1 fields"),
        (b"user_id,age,age\nu000,1,2\n", r"users\.csv: column 'age' occurs more than once"),
        ("user_id,name\nu000,Zoë\n".encode("latin-1"), r"users\.csv: not UTF-8 \(byte \d+\); save it as UTF-8"),
        ("user_id,age\nu000,1\n".encode("utf-16-le"), r"users\.csv: holds zero bytes.*save it as UTF-8"),
        (b"PK\x03\x04\x00\x00", r"users\.csv: holds zero bytes"),
        (b"age\n1\n", r"users\.csv: column 'user_id' is missing"),
        (b"user_id;income;score\nu000;1,5;1.234\nu001;2,5;2.345\n", r"users\.csv: 'score' holds '1\.234'.*thousands"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    write_csv(clean_tables(), tmp_path)
    (tmp_path / "users.csv").write_bytes(content)
    with pytest.raises(CampaignError, match=message):
        read_log(tmp_path, EXACT)


def test_a_truncated_gzip_a_folder_and_a_double_are_named(tmp_path: Path) -> None:
    write_csv(clean_tables(), tmp_path)
    whole = (tmp_path / "users.csv").read_bytes()
    (tmp_path / "users.csv").unlink()
    (tmp_path / "users.csv.gz").write_bytes(gzip.compress(whole)[:-40])
    with pytest.raises(CampaignError, match=r"users\.csv\.gz: not readable.*truncated"):
        read_log(tmp_path, EXACT)
    (tmp_path / "users.csv").write_bytes(whole)
    with pytest.raises(CampaignError, match=r"users is there more than once \(users\.csv, users\.csv\.gz\)"):
        read_log(tmp_path, EXACT)
    (tmp_path / "users.csv.gz").unlink()
    (tmp_path / "users.csv").unlink()
    (tmp_path / "users.parquet").mkdir()
    with pytest.raises(CampaignError, match=r"users\.parquet is a folder"):
        read_log(tmp_path, EXACT)


@pytest.mark.parametrize("cut", [0, 3, 100, -1])
def test_a_cut_parquet_file_is_named(tmp_path: Path, cut: int) -> None:
    write_parquet(clean_tables(), tmp_path)
    file = tmp_path / "contents.parquet"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(CampaignError, match=r"contents\.parquet: not a readable Parquet file"):
        read_log(tmp_path, EXACT)


def test_long_integer_ids_keep_their_digits_beside_a_null(tmp_path: Path) -> None:
    tables = clean_tables()
    long = {"a": 2**60 + 1, "b": 2**60 + 2, "c": 2**60 + 3}
    tables["contents"]["content_id"] = tables["contents"]["content_id"].map(long)
    expected = make_grid(make_log(clean_tables(), EXACT)).decision
    sent = [None if pd.isna(content) else long[content] for content in tables["decisions"]["content_id"]]
    tables["decisions"]["content_id"] = pd.array(sent, dtype="Int64")
    log = read_log(write_parquet(tables, tmp_path), EXACT)
    np.testing.assert_array_equal(make_grid(log).decision, expected)
    assert set(log.decisions["content_id"].dropna()) == set(long.values())


def test_ids_saved_as_the_index_are_found(tmp_path: Path) -> None:
    tables = clean_tables()
    write_parquet(tables, tmp_path)
    tables["users"].set_index("user_id").to_parquet(tmp_path / "users.parquet")
    assert_same_log(read_log(tmp_path, EXACT), make_log(tables, EXACT))


def test_codes_with_leading_zeros_stay_text_and_true_and_false_become_flags(tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("user_id,postcode,member,age\n007,01067,TRUE,31\n7,80331,false,\n", encoding="utf-8")
    frame = read_table(file)
    assert list(frame["user_id"]) == ["007", "7"]
    assert list(frame["postcode"]) == ["01067", "80331"]
    assert frame["member"].dtype == bool
    assert frame["age"].tolist()[0] == 31
    assert np.isnan(frame["age"][1])


def test_thousands_with_decimal_commas_are_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "users.csv"
    file.write_text("user_id;spend\n1;1.234,50\n2;-0,5\n3;12\n4;2.000\n", encoding="utf-8")
    assert read_table(file)["spend"].tolist() == [1234.5, -0.5, 12.0, 2000.0]


def test_a_comma_within_a_comma_file_is_not_guessed_to_be_a_decimal(tmp_path: Path) -> None:
    tables = clean_tables()
    write_csv(tables, tmp_path)
    values = tables["decisions"].assign(value=tables["decisions"]["value"].astype(object))
    values.loc[3, "value"] = "1,234"
    values.to_csv(tmp_path / "decisions.csv", index=False)
    log = read_log(tmp_path, LogSettings())
    assert np.isnan(log.decisions["value"][3])
    assert log.rejected[["column", "row", "value", "reason"]].to_numpy().tolist() == [
        ["value", 3, "1,234", "not a number"]
    ]


def test_dictionaries_dates_and_decimals_of_parquet_are_read(tmp_path: Path) -> None:
    import decimal

    tables = clean_tables()
    tables["users"]["segment"] = tables["users"]["segment"].astype("category")
    tables["users"]["income"] = tables["users"]["income"].map(lambda x: decimal.Decimal(f"{x:.2f}"))
    tables["decisions"]["content_id"] = tables["decisions"]["content_id"].astype("category")
    tables["users"]["as_of"] = pd.Timestamp("2025-03-01").date()
    log = read_log(write_parquet(tables, tmp_path), EXACT)
    assert_same_log(log, make_log(clean_tables(), EXACT))


def test_reading_what_reading_wrote_changes_nothing(tmp_path: Path) -> None:
    tables = clean_tables()
    tables["users"]["mixed"] = pd.Series([1, "two", None, True, 2.5] * 6, dtype=object)
    tables["users"]["lists"] = [[1, 2]] * 30
    tables["decisions"]["campaign"] = pd.Series([1, "x"] * (len(tables["decisions"]) // 2), dtype=object)
    first = make_log(tables, LogSettings())
    again = read_log(write_log(first, tmp_path), LogSettings())
    assert_same_log(again, first)
    assert again.rejected.empty
    for name in ("users", "contents", "decisions"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(first, name), check_dtype=False)
