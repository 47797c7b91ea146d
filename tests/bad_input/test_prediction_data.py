"""Tests unusual data for `predict` and `train`: identical results, or a refusal with advice."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.bad_input.harness import TINY, Outcome, data_set, refusal_problems, run

Change = Callable[[pl.DataFrame], pl.DataFrame]
c = pl.col

NEWEST = (c("date") == c("date").max()) & (c("code") == "1303")


def put(value: object, where: pl.Expr = NEWEST, column: str = "x") -> Change:
    """Replace a feature's value, by default in one row of the newest day."""
    return lambda d: d.with_columns(pl.when(where).then(value).otherwise(c(column).cast(float)).alias(column))


TIDY: dict[str, Change] = {
    "reversed": lambda d: d.reverse(),
    "shuffled": lambda d: d.sample(fraction=1, shuffle=True, seed=1),
    "integer codes": lambda d: d.with_columns(c("code").cast(int)),
    "categorical codes": lambda d: d.with_columns(c("code").cast(pl.Categorical)),
    "days as text": lambda d: d.with_columns(c("date").cast(str)),
    "days as numbers": lambda d: d.with_columns(c("date").dt.strftime("%Y%m%d").cast(int)),
    "times of a zone": lambda d: d.with_columns(
        c("date").cast(pl.Datetime).dt.replace_time_zone("Asia/Tokyo")
    ),
    "doubles": lambda d: d.with_columns(c("x", "y", "ret_1d").cast(float)),
    "other order of columns": lambda d: d.select("y", "x", "code", "ret_1d", "date"),
    "targets of noise": lambda d: d.with_columns(target_1d=float("inf"), target_5d=pl.lit("up")),
}
"""Changes that leave every prediction identical."""

UNKNOWN: dict[str, Change] = {
    "not a number": put(float("nan")),
    "infinite": put(float("inf")),
    "minus infinite": put(float("-inf")),
    "beyond single precision": put(1e300),
    "an infinite return for the graph": put(float("inf"), c("code") == "1304", "ret_1d"),
}
"""Values that are treated as missing."""


def stock(code: str, days: int) -> Change:
    """Add a stock with the given number of days."""
    return lambda d: pl.concat([d, d.filter(c("code") == "1301").with_columns(code=pl.lit(code)).tail(days)])


DAMAGES: dict[str, Change] = {
    **TIDY,
    **UNKNOWN,
    "a feature all null": lambda d: d.with_columns(x=pl.lit(None, pl.Float32)),
    "a feature all infinite": lambda d: d.with_columns(y=pl.lit(float("inf"))),
    "no returns": put(None, pl.lit(True), "ret_1d"),
    "a constant": lambda d: d.with_columns(x=1),
    "a stock never seen": stock("new", 60),
    "a stock listed today": stock("today", 1),
    "stocks that are gone": lambda d: d.filter((c("code") != "1302") | (c("date") < c("date").max())),
    "one stock": lambda d: d.filter(c("code") == c("code").first()),
    "a hole": lambda d: d.filter(c("date").rank("dense") % 7 != 1),
    "a day too few": lambda d: d.filter(c("date").rank("dense", descending=True) < 5),
    "double rows": lambda d: pl.concat([d, d.tail(2)]),
    "a row without a code": lambda d: d.with_columns(pl.when(~NEWEST).then("code").alias("code")),
    "a row without a day": lambda d: d.with_columns(pl.when(~NEWEST).then("date").alias("date")),
    "a feature less": lambda d: d.drop("x"),
    "a feature more": lambda d: d.with_columns(z=1.0),
    "a feature of text": lambda d: d.with_columns(c("y").cast(str)),
    "no rows": lambda d: d.clear(),
}


def predict(frame: pl.DataFrame, trained: Path, folder: Path) -> tuple[Outcome, pl.DataFrame | None]:
    """Run `predict`; return its outcome and the ranking it wrote."""
    frame.write_parquet(folder / "d.parquet")
    out = folder / "o.parquet"
    out.unlink(missing_ok=True)
    outcome = run(
        ("predict", "--run", trained, "--data", "d.parquet", "--out", "o.parquet", "--top", 1), folder
    )
    return outcome, pl.read_parquet(out) if out.exists() else None


@pytest.fixture(scope="module")
def tidy(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The ranking of the unchanged data set."""
    ranking = predict(data_set(), tiny_run, tmp_path_factory.mktemp("tidy"))[1]
    assert ranking is not None
    return ranking


@pytest.mark.parametrize("change", TIDY)
def test_spelling_and_order_do_not_change_a_ranking(
    change: str, tidy: pl.DataFrame, tiny_run: Path, tmp_path: Path
) -> None:
    ranking = predict(TIDY[change](data_set()), tiny_run, tmp_path)[1]
    assert ranking is not None and ranking.equals(tidy)


@pytest.mark.parametrize("change", UNKNOWN)
def test_values_that_are_not_finite_count_as_missing(
    change: str, tidy: pl.DataFrame, tiny_run: Path, tmp_path: Path
) -> None:
    where, column = (c("code") == "1304", "ret_1d") if "graph" in change else (NEWEST, "x")
    ranking = predict(UNKNOWN[change](data_set()), tiny_run, tmp_path)[1]
    missing = predict(put(None, where, column)(data_set()), tiny_run, tmp_path)[1]
    assert ranking is not None and missing is not None
    assert ranking.equals(missing) and not ranking.equals(tidy)


def test_a_new_stock_is_ranked_and_displaces_no_other(tiny_run: Path, tmp_path: Path) -> None:
    ranking = predict(stock("new", 60)(stock("today", 1)(data_set())), tiny_run, tmp_path)[1]
    assert ranking is not None and {"new", "today"} < set(ranking["code"]) and ranking.height == 14


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(sorted(DAMAGES)), min_size=2, max_size=4, unique=True))
def test_any_combination_of_damages_is_refused_or_ranked(
    tiny_run: Path, tmp_path: Path, damages: list[str]
) -> None:
    frame = data_set()
    for damage in damages:
        try:
            frame = DAMAGES[damage](frame)
        except pl.exceptions.PolarsError:
            # Incompatible with an earlier damage, such as text for a dropped column.
            continue
    outcome, ranking = predict(frame, tiny_run, tmp_path)
    if ranking is None:
        assert not list(refusal_problems(outcome, ())), outcome.err
        return
    assert outcome.code == 0
    assert ranking.height == ranking["code"].n_unique() and ranking["date"].n_unique() == 1
    for horizon in (1, 5, 10, 20):
        assert ranking[f"score_{horizon}d"].is_finite().all()
        ranks = ranking[f"network_{horizon}d"].rank("min", descending=True).cast(pl.Int32)
        assert ranking[f"network_rank_{horizon}d"].equals(ranks)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda d: d.reverse().with_columns(c("code").cast(int), c("date").cast(str)), c("code")),
        (
            lambda d: d.sample(fraction=1, shuffle=True, seed=1).with_columns(code="極洋 " + c("code")),
            c("code").str.strip_prefix("極洋 "),
        ),
    ],
    ids=["backwards, integer codes, days as text", "shuffled, codes of another script"],
)
def test_spelling_and_order_do_not_change_a_training(
    change: Change, back: pl.Expr, tiny_run: Path, tmp_path: Path
) -> None:
    change(data_set()).write_parquet(tmp_path / "d.parquet")
    outcome = run(("train", "--data", "d.parquet", "--out", "runs", *TINY), tmp_path)
    assert outcome.code == 0, outcome.err
    (run_folder,) = (tmp_path / "runs" / "train").iterdir()
    tables = [pl.read_parquet(folder / "predictions.parquet") for folder in (run_folder, tiny_run)]
    assert tables[0].with_columns(back).equals(tables[1])
    for name in ("atft_gat_fan/model.safetensors", "lightgbm/lightgbm_5d.txt"):
        assert (run_folder / "fold_0" / name).read_bytes() == (tiny_run / "fold_0" / name).read_bytes()
