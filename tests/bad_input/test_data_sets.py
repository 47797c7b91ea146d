"""Data sets that can't be used for training, through `gogooku3 train`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from tests.bad_input.harness import TINY, Case, data_set, prices, refuse, table

Change = Callable[[pl.DataFrame], pl.DataFrame]


def train(
    change: Change = lambda d: d, *more: str, name: str = "d.parquet"
) -> Callable[[Path], Sequence[object]]:
    """The command that trains on a changed data set."""

    def make(folder: Path) -> Sequence[object]:
        frame = change(data_set())
        frame.write_parquet(folder / name) if name.endswith("parquet") else frame.write_csv(folder / name)
        return "train", "--data", folder / name, *TINY, *more

    return make


def of(content: bytes, name: str = "d.parquet") -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        (folder / name).write_bytes(content)
        return "train", "--data", folder / name, *TINY

    return make


def train_and_score_by_prices(folder: Path) -> Sequence[object]:
    """The command that trains and scores with prices of the first days only."""
    prices().write_parquet(folder / "p.parquet")
    return *train()(folder), f"evaluation.prices={folder / 'p.parquet'}"


def in_folder(files: dict[str, bytes]) -> Callable[[Path], Sequence[object]]:
    """The command that trains on a folder with these files besides a good year."""

    def make(folder: Path) -> Sequence[object]:
        (folder / "d" / "year=2022").mkdir(parents=True)
        data_set().write_parquet(folder / "d" / "year=2022" / "part.parquet")
        for name, content in files.items():
            (folder / "d" / name).parent.mkdir(exist_ok=True)
            (folder / "d" / name).write_bytes(content)
        return "train", "--data", folder / "d", *TINY

    return make


CASES = [
    Case("no file", lambda f: ("train", "--data", f / "no.parquet", *TINY), ("no.parquet", "data build")),
    Case("a folder", lambda f: ("train", "--data", f, *TINY), ("folder",)),
    Case(
        "another file in the folder",
        in_folder({"prices.csv": b"x"}),
        ("prices.csv", "year=2024/part.parquet"),
    ),
    Case("an empty year", in_folder({"year=2023/part.parquet": b""}), ("year=2023/part.parquet", "0 bytes")),
    Case(
        "a damaged year", in_folder({"year=2023/part.parquet": b"x" * 99}), ("year=2023/part.parquet", "Parq")
    ),
    Case("an empty file", of(b""), ("d.parquet", "0 bytes")),
    Case("text", of(b"hello"), ("d.parquet", "Parquet")),
    Case("a truncated file", of(b"PAR1" + bytes(90)), ("d.parquet", "Parquet")),
    Case("another ending", of(b"x", "d.feather"), ("d.feather", ".parquet")),
    Case("no rows", train(lambda d: d.clear()), ("d.parquet", "no rows")),
    Case("no date", train(lambda d: d.drop("date")), ("date", "code, target_1d")),
    Case(
        "no targets",
        train(lambda d: d.drop("target_1d", "target_5d", "target_10d", "target_20d")),
        ("target_5d",),
    ),
    Case("a target missing", train(lambda d: d.drop("target_5d")), ("[1, 10, 20]", "[5]")),
    Case("one feature too few", train(lambda d: d.drop("y")), ("model.input_dim", "9", "2 features", "8")),
    Case(
        "ten thousand columns",
        train(lambda d: d.with_columns(pl.lit(0.5).alias(f"f{i}") for i in range(10_000))),
        ("model.input_dim", "9", "10003 features"),
    ),
    Case(
        "no return for the graph",
        train(lambda d: d.rename({"ret_1d": "z"})),
        ("ret_1d", "graph.enabled=false"),
    ),
    Case(
        "a target as text", train(lambda d: d.with_columns(target_5d=pl.lit("up"))), ("target_5d (String)",)
    ),
    Case(
        "a target as lists",
        train(lambda d: d.with_columns(pl.concat_list("target_5d"))),
        ("target_5d (List",),
    ),
    Case(
        "a target among the features",
        train(lambda d: d, "dataset.feature_columns=[ret_1d,x,target_1d]"),
        ("target_1d",),
    ),
    Case(
        "a target under another name",
        train(lambda d: d.with_columns(x="target_5d")),
        ("x follows target_5d", "1.00", "2022-01-03"),
    ),
    *(
        Case(
            f"a target {how}",
            train(lambda d, copy=copy: d.with_columns(x=copy)),
            ("x follows target_", "2022-01-03"),
        )
        for how, copy in {
            "scaled and shifted": pl.col("target_1d") * 1e-4 + 3,
            "negated": -pl.col("target_20d"),
            "ranked": pl.col("target_5d").rank().over("date") / 12,
            "standardised by day": (pl.col("target_10d") / pl.col("target_10d").std()).over("date"),
            "with noise": pl.col("target_5d") + pl.col("y") * 0.2,
            "in a tenth of the rows": pl.when(pl.int_range(pl.len()) % 120 < 12).then("target_5d"),
        }.items()
    ),
    Case(
        "a target all null",
        train(lambda d: d.with_columns(target_5d=pl.lit(None, pl.Float32))),
        ("target_5d", "1,080 rows", "data build"),
    ),
    Case(
        "a target all equal",
        train(lambda d: d.with_columns(target_5d=pl.lit(0.5))),
        ("target_5d: always 0.5", "1,080"),
    ),
    Case(
        "a target with infinities",
        train(
            lambda d: d.with_columns(
                target_5d=pl.when(pl.col("code") == "1301").then(np.inf).otherwise("target_5d")
            )
        ),
        ("target_5d: infinite", "90 of 1,080"),
    ),
    Case("one stock", train(lambda d: d.filter(pl.col("code") == "1301")), ("one stock, 1301",)),
    Case(
        "too few stocks", train(lambda d: d.filter(pl.col("code") < "1306")), ("no day has more than 5", "10")
    ),
    Case(
        "stocks that never meet",
        train(lambda d: d.filter((pl.col("date").rank("dense") + pl.col("code").cast(pl.Int32)) % 12 < 3)),
        ("no day has more than 3 of the 12 stocks",),
    ),
    Case(
        "a key among the features",
        train(lambda d: d, "dataset.feature_columns=[ret_1d,x,date]"),
        ("date (a key)",),
    ),
    Case(
        "a feature as text",
        train(lambda d: d.with_columns(y=pl.lit("a")), "dataset.feature_columns=[ret_1d,x,y]"),
        ("y (String)",),
    ),
    Case(
        "a horizon beyond the data",
        train(
            lambda d: d.with_columns(target_60d=pl.col("x").shuffle(seed=1)),
            "model.prediction_horizons=[1,60]",
            "time_series.prediction_horizons=[1,60]",
            "loss.horizon_weights={1: 1, 60: 1}",
            "split.embargo_days=60",
            "early_stopping.monitor=val/loss",
            "training.validation_fraction=0.1",
        ),
        ("90", "embargo_days 60"),
    ),
    Case(
        "quality features already there",
        train(lambda d: d.with_columns(quality_coverage=pl.lit(1.0))),
        ("quality_coverage",),
    ),
    Case(
        "a window longer than the training days",
        train(lambda d: d, "time_series.sequence_length=85"),
        ("rows to fit", "85 days", "time_series.sequence_length"),
    ),
    Case("double rows", train(lambda d: pl.concat([d, d.head(1)])), ("2022-01-03", "1301")),
    Case("null codes", train(lambda d: d.with_columns(code=pl.lit(None, pl.String))), ("code", "1,080 rows")),
    Case("codes as lists", train(lambda d: d.with_columns(pl.concat_list("code"))), ("code", "List")),
    Case(
        "string dates that are ambiguous",
        train(lambda d: d.with_columns(pl.col("date").dt.strftime("%m/%d/%Y"))),
        ("'01/03/2022'",),
    ),
    Case(
        "a Decimal date",
        train(lambda d: d.with_columns(date=pl.lit("1.5").cast(pl.Decimal(10, 2)))),
        ("date", "1.5"),
    ),
    Case(
        "days in the year 50000",
        train(lambda d: d.with_columns(pl.col("date").cast(pl.Int32).cast(pl.Int64) * 900)),
        ("date",),
    ),
    Case("a day too few", train(lambda d: d.head(12 * 75)), ("75 trading days", "76")),
    Case("one day", train(lambda d: d.head(12)), ("1 trading days",)),
    Case("a window longer than training", train(lambda d: d, "time_series.sequence_length=50"), ("50",)),
    Case(
        "memory for nothing",
        train(lambda d: d, "performance.memory_limit_gb=0.1"),
        ("memory_limit_gb", "0.1"),
    ),
    Case("a CSV with a column twice", of(b"date,code,target_1d,x,x\n2024-01-04,a,1,2,3\n", "d.csv"), ("x",)),
    Case("prices that aren't there", train(lambda d: d, "evaluation.prices=no.parquet"), ("no.parquet",)),
    Case("prices of other days", train_and_score_by_prices, ("lack 15 of the 15 days", "2022-04-18")),
    Case("complex experiment names", train(lambda d: d, "--experiment", "../../etc"), ("../../etc",)),
    Case("runs where a file is", lambda f: (*train()(f), "--out", f / "d.parquet"), ("d.parquet",)),
]


@table(CASES)
def test_an_unusable_data_set_is_refused_with_what_to_do(case: Case, tmp_path: Path) -> None:
    refuse(case, tmp_path)
