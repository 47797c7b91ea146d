"""Features of the last days computed from recent prices equal those from all prices."""

import polars as pl
import pytest

from gogooku3.features.compute import compute_features
from gogooku3.features.tail import compute_tail

N_DAYS = 620


@pytest.fixture(scope="module", params=[{}, {"sectors": 3, "index": True}], ids=["bare", "sectors, index"])
def prices(request: pytest.FixtureRequest, make_prices) -> pl.DataFrame:
    """Holes, late listings; one stock pauses for a year, one has no highs, one is new on the last day."""
    frame = make_prices(n_days=N_DAYS, n_stocks=7, dirt=0.1, **request.param)
    day = pl.col("date").rank("dense")
    paused = (pl.col("code") == "S02") & day.is_between(N_DAYS - 300, N_DAYS - 5)
    early = (pl.col("code") == "S06") & (day < N_DAYS - 1)
    blind = (pl.col("code") == "S04") & (day > N_DAYS - 200)
    return frame.filter(~(paused | early)).with_columns(pl.when(~blind).then("high").alias("high"))


@pytest.fixture(scope="module")
def whole(prices: pl.DataFrame) -> pl.DataFrame:
    return compute_features(prices)


@pytest.mark.parametrize("n_new", [1, 2, 30, 250, N_DAYS])
def test_the_last_days_are_bit_identical_to_a_full_computation(
    prices: pl.DataFrame, whole: pl.DataFrame, n_new: int
) -> None:
    first = prices["date"].unique().sort()[-n_new]
    seen: list[float] = []
    tail = compute_tail(prices, first, lambda step, share: seen.append(share))
    assert tail.equals(whole.filter(pl.col("date") >= first))
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_blocks_of_few_stocks_give_the_same_features(prices, whole, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compute", "tail"):
        monkeypatch.setattr(f"gogooku3.features.{module}.BLOCK_CELLS", 1000)
    first = prices["date"].unique().sort()[-3]
    assert compute_tail(prices, first).equals(whole.filter(pl.col("date") >= first))
