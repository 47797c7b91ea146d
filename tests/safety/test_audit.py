"""An audit finds and locates every planted leak, and reports nothing for clean pipelines."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.safety import leaky_pipelines as leaky

from gogooku3.errors import ConfigError, DataError
from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.compute import compute_features
from gogooku3.features.quality import QualityFinancialFeaturesGenerator
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2
from gogooku3.safety import audit

LEAKS = {
    leaky.full_period_maximum: "altered",
    leaky.neighbours_rows_in_a_window: "altered",
    leaky.neighbours_past_in_a_window: "swapped",
    leaky.scaler_of_the_whole_period: "altered",
    leaky.rows_with_a_label: "truncated",
    leaky.rows_without_crashes: "altered",
    leaky.price_level: "rescaled",
    leaky.no_gap_before_the_test: "altered",
    leaky.correlation_of_the_whole_period: "truncated",
}
CLEAN = [
    leaky.running_maximum,
    leaky.own_rows_in_a_window,
    leaky.scaler_of_the_day,
    leaky.gap_before_the_test,
]

by_name = {"ids": lambda each: getattr(each, "__name__", str(each))}


@pytest.mark.parametrize(("pipeline", "probe"), LEAKS.items(), **by_name)
def test_each_leak_is_found_by_the_probe_made_for_it(
    pipeline: Callable[..., pl.DataFrame], probe: str, prices: pl.DataFrame
) -> None:
    report = audit(pipeline, prices, cuts=2, reproduce_seconds=0)
    assert report.verdict == "leaks"
    assert probe in {finding.probe for finding in report.leaks}


@pytest.mark.parametrize("pipeline", CLEAN, **by_name)
def test_the_clean_counterpart_is_clean(pipeline: Callable[..., pl.DataFrame], prices: pl.DataFrame) -> None:
    # Sums over groups round differently with the number of threads.
    report = audit(pipeline, prices, seeds=(0, 1), tolerance=1e-9)
    assert (report.verdict, report.findings) == ("clean", ())
    assert all(probe.runs for probe in report.probes)


@pytest.fixture(scope="module")
def around_new_year(prices: pl.DataFrame) -> pl.DataFrame:
    """Prices over the end of a year, of which two stocks are listed late."""
    days = prices["date"].unique().sort()
    late = pl.col("code").is_in(prices["code"].unique().sort().head(2).implode())
    return prices.filter(~late | (pl.col("date") >= days[40])).with_columns(
        pl.col("date").dt.offset_by("84d")
    )


def test_cuts_are_made_where_leaks_hide(around_new_year: pl.DataFrame) -> None:
    def cut_positions(prices: pl.DataFrame, cuts: int) -> list[int]:
        report = audit(leaky.running_maximum, prices, cuts=cuts, probes=["truncated"])
        return [days.index(cut) for cut in report.cuts]

    days = around_new_year["date"].unique().sort().to_list()
    year_end = [position for position, day in enumerate(days) if day.year == days[0].year][-1]
    listed = max(around_new_year.group_by("code").agg(pl.col("date").min())["date"])
    # The last trading day of 2021 is a Friday: the end of a week, of a month and of a year.
    closing = days.index(dt.date(2021, 12, 31))
    assert closing == year_end
    # The middle, the first day, the latest listing, before the year's end, its end, the first weeks.
    by_rank = [114, 0, days.index(listed), year_end - 2, closing, 10]
    for cuts in range(1, 7):
        assert cut_positions(around_new_year, cuts) == sorted(by_rank[:cuts])
    assert len(cut_positions(around_new_year, 9)) == 9


def test_our_features_quality_features_and_normaliser_are_clean(
    small_frame: pl.DataFrame, prices: pl.DataFrame
) -> None:
    trained = small_frame.filter(pl.col("date") <= small_frame["date"].unique().sort()[100])
    fitted = CrossSectionalNormalizerV2(feature_columns=FEATURE_NAMES).fit(trained)

    def our_outputs(prices: pl.DataFrame) -> pl.DataFrame:
        features = compute_features(prices)
        enriched = QualityFinancialFeaturesGenerator().generate_quality_features(features)
        normalised = fitted.transform(features).select(pl.col(FEATURE_NAMES).name.prefix("normalised_"))
        return enriched.hstack(normalised)

    report = audit(our_outputs, prices, cuts=2, max_stocks=16)
    assert (report.verdict, report.findings) == ("clean", ())
    assert len(report.columns) == 139 + 6 + 139


def test_our_graph_schedule_is_clean(prices: pl.DataFrame) -> None:
    def edges(prices: pl.DataFrame) -> pl.DataFrame:
        wide = prices.with_columns(ret=leaky.RETURN).pivot(on="code", index="date", values="ret").sort("date")
        codes = sorted(set(wide.columns) - {"date"})
        returns = wide.select(codes).cast(pl.Float64).fill_null(np.nan).to_numpy()
        schedule = GraphSchedule.build(
            wide["date"].to_numpy(), codes, returns, FinancialGraphBuilder(min_edges_per_node=2)
        )
        tables = []
        for month, graph in zip(schedule.months, schedule.graphs, strict=True):
            stock, slot = np.nonzero(graph.valid)
            tables.append(
                pl.DataFrame(
                    {
                        "date": np.full(len(stock), month, dtype="datetime64[D]"),
                        "code": np.array(codes)[stock],
                        "neighbour": np.array(codes)[graph.neighbours[stock, slot]],
                        "weight": graph.weights[stock, slot],
                    }
                )
            )
        return pl.concat(tables)

    report = audit(edges, prices)
    assert (report.verdict, report.findings) == ("clean", ())


def test_a_finding_has_column_size_and_first_day() -> None:
    days = [dt.date(2024, 1, day) for day in range(1, 11)]
    prices = pl.DataFrame({"date": days, "code": "A", "close": [1.0 + i for i in range(10)]})

    def mean_of_all(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", fair=pl.lit(1.0), mean=pl.lit(prices["close"].mean()))

    report = audit(mean_of_all, prices, cuts=[days[5]], probes=["truncated"])
    (finding,) = report.leaks
    assert (finding.column, finding.rows, finding.cut) == ("mean", 6, days[5])
    assert (finding.first_day, finding.last_day) == (days[0], days[5])
    # The mean of 1 to 10 is 5.5, that of 1 to 6 is 3.5.
    assert finding.largest == pytest.approx(2.0)
    assert finding.example == {"date": "2024-01-01", "code": "A", "before": 5.5, "after": 3.5}
    assert "'mean' depends on the future: 6 rows up to 2024-01-06 changed" in finding.says


def test_only_targets_that_are_not_closed_are_a_leak(small_frame: pl.DataFrame, prices: pl.DataFrame) -> None:
    targets = small_frame.select("date", "code", "target_20d")
    report = audit(leaky.unclosed_targets, prices, targets=targets, probes=["targets"], reproduce_seconds=0)
    assert [finding.probe for finding in report.leaks] == ["targets"]
    assert audit(leaky.closed_targets, prices, targets=targets).verdict == "clean"


def test_columns_named_as_targets_may_look_ahead(prices: pl.DataFrame) -> None:
    def with_label(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", ret=leaky.RETURN, target_20d=leaky.FORWARD)

    report = audit(with_label, prices, cuts=1)
    assert (report.verdict, report.columns, report.ignored) == ("clean", ("ret",), ("target_20d",))
    assert audit(with_label, prices, cuts=1, ignore=["ret"]).columns == ()


def test_dependence_on_codes_or_row_order_is_a_warning(prices: pl.DataFrame) -> None:
    def by_code(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", x=pl.col("code").hash().cast(pl.Float64))

    report = audit(by_code, prices, cuts=1)
    assert report.verdict == "clean"
    assert {finding.probe for finding in report.findings} == {"renamed", "swapped"}
    assert {finding.severity for finding in report.findings} == {"warning"}

    def order_dependent(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", x=pl.col("close") / pl.col("close").shift(1).over("code"))

    assert {(f.probe, f.severity) for f in audit(order_dependent, prices, cuts=1).findings} == {
        ("reordered", "warning")
    }


def test_a_pipeline_that_fails_on_a_shorter_history_is_incomplete(prices: pl.DataFrame) -> None:
    n_days = prices["date"].n_unique()

    def demanding(prices: pl.DataFrame) -> pl.DataFrame:
        if prices["date"].n_unique() < n_days:
            raise ValueError("too short")
        return prices.select("date", "code", x=pl.lit(1.0))

    report = audit(demanding, prices)
    assert report.verdict == "incomplete"
    assert [(probe.name, probe.detail) for probe in report.failed] == [("truncated", "ValueError: too short")]


def test_differences_of_rounding_between_calls_are_ignored() -> None:
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 1, 20), eager=True)
    prices = pl.DataFrame({"date": days, "code": "A", "close": 1.0})
    calls = iter(range(1000))

    def noisy(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", x=pl.lit(1 + 1e-15 * next(calls)))

    report = audit(noisy, prices)
    assert (report.verdict, report.tolerance) == ("clean", 1e-9)


def test_a_tolerance_allows_for_rounding(prices: pl.DataFrame) -> None:
    def rounds(prices: pl.DataFrame) -> pl.DataFrame:
        noise = 1 + 1e-12 * prices.height
        return prices.select("date", "code", x=leaky.RETURN * noise)

    assert audit(rounds, prices, probes=["truncated"], reproduce_seconds=0).verdict == "leaks"
    assert audit(rounds, prices, probes=["truncated"], tolerance=1e-6).verdict == "clean"


@settings(max_examples=15, deadline=None)
@given(lag=st.integers(-3, 3), seed=st.integers(0, 99))
def test_a_shift_leaks_exactly_when_it_looks_ahead(lag: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    days = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 2, 9), eager=True)
    keys = pl.DataFrame({"date": days}).join(pl.DataFrame({"code": ["A", "B", "C"]}), how="cross")
    prices = keys.with_columns(close=pl.Series(random.uniform(1, 2, keys.height)))

    def shifted(prices: pl.DataFrame) -> pl.DataFrame:
        ratio = pl.col("close").shift(lag).over("code", order_by="date") / pl.col("close")
        return prices.select("date", "code", x=ratio)

    assert audit(shifted, prices, seeds=(seed,), reproduce_seconds=0).verdict == (
        "clean" if lag >= 0 else "leaks"
    )


def test_invalid_pipelines_prices_and_options_are_refused_with_a_reason(prices: pl.DataFrame) -> None:
    def broken(prices: pl.DataFrame) -> pl.DataFrame:
        raise KeyError("turnover")

    def without_table(prices: pl.DataFrame) -> float:
        return 1.0

    def without_keys(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("close")

    def random_values(prices: pl.DataFrame) -> pl.DataFrame:
        return prices.select("date", "code", x=pl.lit(np.random.default_rng().normal()))

    for pipeline, message in (
        (broken, "fails on unaltered prices .*KeyError: 'turnover'"),
        (without_table, "output is a float; expected a Polars or pandas frame"),
        (without_keys, "needs the columns date, code"),
        (random_values, "other values for the same prices: x; fix its seeds"),
        (leaky.unclosed_targets, "has a parameter 'targets'"),
    ):
        with pytest.raises(DataError, match=message):
            audit(pipeline, prices)
    with pytest.raises(DataError, match="needs the column close"):
        audit(leaky.price_level, prices.drop("close"))
    with pytest.raises(DataError, match="two rows for one stock and day"):
        audit(leaky.price_level, pl.concat([prices, prices.head(1)]))
    with pytest.raises(DataError, match="cuts must lie from"):
        audit(leaky.price_level, prices, cuts=[dt.date(2050, 1, 1)])
    with pytest.raises(ConfigError, match="unknown probes: magic; choose from altered"):
        audit(leaky.price_level, prices, probes=["magic"])
    with pytest.raises(ConfigError, match="seeds are empty; give"):
        audit(lambda p: p, prices, seeds=())
    for tolerance in (float("nan"), -1.0):
        with pytest.raises(ConfigError, match=f"tolerance is {tolerance}; give a share from 0 up"):
            audit(lambda p: p, prices, tolerance=tolerance)
    with pytest.raises(ConfigError, match="pass a table of them"):
        audit(leaky.price_level, prices, probes=["targets"])


def test_a_value_that_becomes_infinite_differs_at_any_tolerance(prices: pl.DataFrame) -> None:
    days = prices["date"].unique().sort()

    def overflows(prices: pl.DataFrame) -> pl.DataFrame:
        later = prices["date"].max() > days[-2]
        return prices.select("date", "code", x=pl.when(later).then(pl.lit(1.0)).otherwise(pl.lit(np.inf)))

    for tolerance in (0.0, 1e-6):
        report = audit(
            overflows, prices, cuts=[days[5]], probes=["truncated"], tolerance=tolerance, reproduce_seconds=0
        )
        assert report.verdict == "leaks"
