"""Portfolio returns against a slow reimplementation, in markets with a known answer, and with gaps."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.portfolio import one_day_returns, portfolio_returns


def _slow_twin(table: pl.DataFrame, quantile: float, cost_bps: float) -> dict[tuple, tuple[float, ...]]:
    """Books as dictionaries of positions, opened and closed one at a time; assumes no ties."""
    one_day = {(r["date"], r["code"]): r["target"] for r in table.filter(horizon=1).iter_rows(named=True)}
    result = {}
    for (model, horizon), rows in table.group_by("model", "horizon"):
        books: list[dict[str, float]] = []
        before: dict[str, float] = {}
        for day in sorted(set(rows["date"])):
            of_day = rows.filter(date=day)
            ranking = of_day.sort("prediction")["code"].to_list()
            places = max(1, int(len(ranking) * quantile + 1e-9))
            book = {code: -1 / places / horizon for code in ranking[:places]}
            book |= {code: 1 / places / horizon for code in ranking[-places:]}
            books = [*books, book][-horizon:]
            now: dict[str, float] = {}
            for each in books:
                for code, weight in each.items():
                    now[code] = now.get(code, 0.0) + weight
            moves = {code: one_day.get((day, code)) or 0.0 for code in now}
            gross = sum(weight * moves[code] for code, weight in now.items())
            traded = sum(
                abs(now.get(code, 0.0) - before.get(code, 0.0)) for code in now.keys() | before.keys()
            )
            before = {code: weight * (1 + moves[code]) / (1 + gross) for code, weight in now.items()}
            key = (model, horizon, of_day["fold"][0], day)
            result[key] = (gross, gross - traded * cost_bps / 1e4, traded)
    return result


def test_returns_equal_those_of_books_kept_one_by_one(make_table):
    table = make_table(n_stocks=12, n_days=30, horizons=(1, 5, 20))
    twin = _slow_twin(table, 0.25, 10.0)
    result = portfolio_returns(table, 0.25, 10.0)
    last = table["date"].max()
    assert len(result) == sum(key[3] != last for key in twin)
    for row in result.iter_rows(named=True):
        expected = twin[(row["model"], row["horizon"], row["fold"], row["date"])]
        assert (row["gross"], row["net"], row["turnover"]) == pytest.approx(expected, abs=1e-12)


def _steady_market(horizon: int, n_days: int = 40, daily: float = 0.01) -> pl.DataFrame:
    """Two stocks, one gaining `daily` per day, one flat; predictions are always right."""
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 1, 1) + dt.timedelta(n_days - 1), eager=True)
    frames = [
        pl.DataFrame({"date": days}).with_columns(
            code=pl.lit(code),
            fold=0,
            model=pl.lit("m"),
            horizon=h,
            prediction=pl.lit(gain),
            target=pl.lit((1 + gain) ** h - 1),
        )
        for h in {1, horizon}
        for code, gain in (("UP", daily), ("FLAT", 0.0))
    ]
    return pl.concat(frames)


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_no_day_is_counted_twice_at_any_horizon(horizon):
    result = portfolio_returns(_steady_market(horizon), cost_bps=0.0).filter(horizon=horizon)
    invested = np.minimum(np.arange(40) + 1, horizon) / horizon
    assert np.allclose(result["gross"], 0.01 * invested)


def test_unchanged_predictions_cost_the_opening_trades_and_the_way_back_from_drifted_weights():
    result = portfolio_returns(_steady_market(1), cost_bps=10.0)
    # UP gains 1 % and so does the capital: its weight stays 1, that of FLAT has become -1 / 1.01.
    drift = 1 - 1 / 1.01
    assert np.allclose(result["turnover"], [2.0] + [drift] * 39)
    assert np.allclose(result["gross"] - result["net"], [0.002] + [drift * 0.001] * 39)


def test_books_carry_over_from_fold_to_fold(make_table):
    table = make_table(n_days=40, horizons=(1, 5))
    columns = ["date", "gross", "net", "turnover"]
    one_fold = portfolio_returns(table.with_columns(fold=pl.lit(0, table.schema["fold"])))
    assert_frame_equal(
        portfolio_returns(table).sort("model", "horizon", "date").select(columns), one_fold[columns]
    )


def test_days_between_folds_count_while_books_are_held(make_table):
    table = make_table(n_days=40, n_folds=1, horizons=(1, 5))
    days = table["date"].unique().sort()
    # Ten days without predictions between two folds.
    fold = pl.when(pl.col("date") < days[15]).then(0).otherwise(1).cast(pl.Int32).alias("fold")
    split = table.filter(~pl.col("date").is_between(days[15], days[24])).with_columns(fold)
    result = portfolio_returns(split, daily_returns=one_day_returns(table)).filter(
        horizon=5, model="lightgbm"
    )
    between = result.filter(pl.col("date").is_between(days[15], days[24]))
    assert between["date"].to_list() == days[15:19].to_list()
    assert between["fold"].to_list() == [0] * 4
    invested = portfolio_returns(split, daily_returns=one_day_returns(table), side="long_only")
    held = invested.filter(horizon=5, model="lightgbm")
    assert held["turnover"].max() < 1


def _halted_market() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions and prices: HALT closes at 100, is halted for two days and resumes at 40; others stay."""
    days = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(20)]
    prices = pl.DataFrame(
        [
            (day, code, price, price)
            for number, day in enumerate(days)
            for code, price in (("FLAT", 50.0), ("HALT", 100.0 if number < 10 else 40.0))
            if not (code == "HALT" and number in (10, 11))
        ],
        schema=["date", "code", "open", "close"],
        orient="row",
    )
    table = pl.concat(
        prices.select(
            "date",
            "code",
            fold=0,
            model=pl.lit("m"),
            horizon=horizon,
            prediction=pl.when((pl.col("code") == "HALT") & (pl.col("date") < days[10]))
            .then(1.0)
            .otherwise(0.0),
            target=pl.lit(0.0),
        ).with_columns(
            target=pl.when((pl.col("code") == "HALT") & (pl.col("date") == days[9]))
            .then(None)
            .otherwise("target")
        )
        for horizon in (1, 5)
    )
    return table, prices


# At the open, the fourth book would be sold after the fall of the night.
@pytest.mark.parametrize(("entry", "five_days"), [("close", -0.36), ("open", -0.48)])
def test_a_halted_stock_costs_its_holders_the_whole_fall_on_the_day_it_resumes(entry, five_days):
    table, prices = _halted_market()
    result = portfolio_returns(table, 0.5, 0.0, prices=prices, side="long_only", entry=entry)
    resumes = dt.date(2024, 1, 12)
    one, five = (result.filter(horizon=horizon) for horizon in (1, 5))
    # The book of one day can't sell. Two of the five books of five days have ended at the last close.
    assert one.filter(date=resumes)["gross"].item() == pytest.approx(-0.6)
    assert five.filter(date=resumes)["gross"].item() == pytest.approx(five_days)
    for book in (one, five):
        assert book.filter(pl.col("date") != resumes)["gross"].to_list() == pytest.approx(
            [0.0] * (len(book) - 1)
        )
        assert book["n_unknown"].sum() == 0


@pytest.mark.parametrize("entry", ["close", "open"])
def test_a_delisted_stock_earns_its_last_price_and_the_stated_return(entry):
    table, prices = _halted_market()
    last = dt.date(2024, 1, 10)
    keep = (pl.col("code") == "FLAT") | (pl.col("date") <= last)
    for delisting_return in (0.0, -0.3):
        result = portfolio_returns(
            table.filter(keep),
            0.5,
            0.0,
            prices=prices.filter(keep),
            side="long_only",
            entry=entry,
            delisting_return=delisting_return,
        ).filter(horizon=5)
        assert result.filter(date=last)["gross"].item() == pytest.approx(delisting_return)
        assert result["gross"].sum() == pytest.approx(delisting_return)
        assert result.filter(date=last)["n_delisted"].item() == result["n_delisted"].sum() == 1
        assert result.filter(pl.col("date") > last)["n_held"].max() <= 1


def test_a_stock_that_leaves_the_table_and_falls_costs_its_holders_the_fall():
    table, prices = _halted_market()
    # HALT is predicted until 9 January and falls by 19 % overnight before 11 January.
    left = table.filter((pl.col("code") == "FLAT") | (pl.col("date") < dt.date(2024, 1, 10)))
    fallen = (pl.col("code") == "HALT") & (pl.col("date") >= dt.date(2024, 1, 11))
    days = prices.filter(code="FLAT").select("date", code=pl.lit("HALT"), open=100.0, close=100.0)
    traded = pl.concat([prices.filter(code="FLAT"), days]).with_columns(
        pl.when(fallen).then(81.0).otherwise(pl.col(name)).alias(name) for name in ("open", "close")
    )
    # At the close four of five books still hold it; at the open the fifth would be sold after the night.
    for entry, gross in (("close", -0.19 * 0.8), ("open", -0.19)):
        result = portfolio_returns(left, 0.5, 0.0, prices=traded, side="long_only", entry=entry)
        assert result.filter(horizon=5)["gross"].sum() == pytest.approx(gross)


def test_a_held_stock_without_a_return_earns_nothing_and_is_counted():
    table = _steady_market(1, n_days=5).with_columns(
        pl.when((pl.col("code") == "UP") & (pl.col("date") == dt.date(2024, 1, 3)))
        .then(None)
        .otherwise("target")
        .alias("target")
    )
    result = portfolio_returns(table, cost_bps=0.0)
    assert result["gross"].to_list() == pytest.approx([0.01, 0.01, 0.0, 0.01, 0.01])
    assert result["n_unknown"].to_list() == [0, 0, 1, 0, 0]
    assert result["n_held"].to_list() == [2] * 5


def test_a_suspended_stock_stays_in_the_books_that_hold_it():
    # Without a row on 3 January, the books of the two days before still hold the stock.
    gone = (pl.col("code") == "UP") & (pl.col("date") == dt.date(2024, 1, 3))
    result = portfolio_returns(_steady_market(5, n_days=8).filter(~gone)).filter(horizon=5)
    assert result["n_unknown"].to_list() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert result["n_held"].to_list() == [2] * 8


def test_the_last_day_of_a_market_has_no_return(market):
    result = portfolio_returns(market)
    assert result["date"].max() == market["date"].unique().sort()[-2]


def test_the_order_of_rows_changes_nothing(market):
    shuffled = market.sample(fraction=1.0, shuffle=True, seed=5)
    assert_frame_equal(portfolio_returns(market), portfolio_returns(shuffled))


def test_daily_returns_replace_the_one_day_targets(market):
    given = one_day_returns(market)
    direct = portfolio_returns(market).filter(horizon=5)
    assert_frame_equal(portfolio_returns(market.filter(horizon=5), daily_returns=given), direct)


def test_a_day_without_predictions_opens_no_book_and_keeps_the_others(market):
    day = market["date"].unique().sort()[10]
    without = market.filter(pl.col("date") != day)
    result = portfolio_returns(without, daily_returns=one_day_returns(market))
    own_rows = result.filter(model="lightgbm", horizon=5, fold=0)
    assert own_rows.filter(date=day)["n_held"].item() > 0
    assert result.filter(model="lightgbm", horizon=1, date=day)["n_held"].item() == 0


def test_missing_one_day_returns_are_refused_with_a_remedy(market):
    with pytest.raises(
        DataError, match="horizons 5 and not 1; add horizon 1 or the column return_1d, or pass"
    ):
        portfolio_returns(market.filter(horizon=5))


def test_returns_that_lack_a_predicted_stock_are_refused_with_an_example(market):
    given = one_day_returns(market)
    with pytest.raises(DataError, match="such as 1300 on 2024-01-01"):
        portfolio_returns(market, daily_returns=given.filter(pl.col("code") != "1300"))
    with pytest.raises(DataError, match="more than one row"):
        portfolio_returns(market, daily_returns=pl.concat([given, given]))
    with pytest.raises(DataError, match="column return"):
        portfolio_returns(market, daily_returns=given.drop("return"))


def test_a_negative_cost_is_refused(market):
    with pytest.raises(ConfigError, match="cost_bps is -1"):
        portfolio_returns(market, cost_bps=-1)


def test_an_empty_table_gives_an_empty_result(market):
    result = portfolio_returns(market.clear(), daily_returns=one_day_returns(market))
    assert result.is_empty()
    assert result.schema == portfolio_returns(market).schema
