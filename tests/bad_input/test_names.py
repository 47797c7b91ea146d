"""Features keep their names, whatever characters they have; a pattern is refused."""

from pathlib import Path

import polars as pl
from tests.bad_input.harness import TINY, Case, data_set, refuse, run

NAMES = {"x": "a$\\frac{$b", "y": "[/]^r.*"}


def test_a_feature_with_two_dollar_signs_in_its_name_is_trained_on(tmp_path: Path) -> None:
    data_set().rename(NAMES).write_parquet(tmp_path / "d.parquet")
    settings = [word for word in TINY if "tensorboard" not in word]
    outcome = run(("train", "--data", "d.parquet", "--out", "runs", *settings), tmp_path)
    assert outcome.code == 0, outcome.err
    (folder,) = (tmp_path / "runs" / "train").iterdir()
    importance = pl.read_parquet(folder / "fold_0" / "linear" / "weights.parquet")["feature"].to_list()
    assert {"ret_1d", *NAMES.values()} <= set(importance)
    for words in (
        ("audit", folder, "--days", 1),
        ("predict", "--run", folder, "--data", "d.parquet", "--out", "o.csv"),
        ("export", "--run", folder, "--format", "torch", "--out", "o.pt2"),
    ):
        again = run(words, tmp_path)
        assert again.code == 0, again.err


def test_a_column_named_as_a_pattern_is_refused(tmp_path: Path) -> None:
    """Polars would read `^r.*$` as all columns that begin with r."""
    data_set().rename({"y": "^r.*$"}).write_parquet(tmp_path / "d.parquet")
    words = ("train", "--data", "d.parquet", "--out", "runs", *TINY)
    refuse(Case("", lambda folder: words, ("d.parquet", "^r.*$", "rename")), tmp_path)
