"""Each day is standardised with its own cross-section; training statistics are only a fallback."""

import datetime as dt
import json
import logging

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.panel import Panel
from gogooku3.errors import ConfigError, DataError
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2, PanelNormalizer
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.schema import MIN_STOCKS

NAN = float("nan")
FEATURES = ["calm", "tailed", "market", "rare", "skewed"]


def day(number: int) -> dt.date:
    return dt.date(2024, 1, 4) + dt.timedelta(days=number)


def market(seed: int, n_days: int = 12, n_stocks: int = 40, missing: float = 0.05) -> pl.DataFrame:
    """Rows of a market: a calm feature, a heavy tail, one that is the same for all stocks of a day, one
    known for few stocks, and a skewed one on another scale. Some rows are absent, some cells null or NaN."""
    rng = np.random.default_rng(seed)
    shape = (n_days, n_stocks)
    cube = np.stack(
        [
            rng.normal(3, 0.1, shape),
            rng.standard_t(2, shape),
            np.repeat(rng.normal(size=(n_days, 1)), n_stocks, axis=1),
            np.where(np.arange(n_stocks) < MIN_STOCKS - 1, rng.normal(5, 2, shape), NAN),
            1e6 * np.exp(2 * rng.normal(size=shape)),
        ],
        axis=-1,
    )
    cube[:, :, [0, 1, 4]] = np.where(rng.random((*shape, 3)) < missing, NAN, cube[:, :, [0, 1, 4]])
    stock_day, stock = np.nonzero(rng.random(shape) < 0.95)
    values = cube[stock_day, stock]
    return pl.DataFrame(
        {
            "date": [day(d) for d in stock_day.tolist()],
            "code": [f"{s:04}" for s in stock],
            "target_1d": rng.normal(size=len(stock)),
            **{name: values[:, i] for i, name in enumerate(FEATURES)},
        }
    ).with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("tailed").fill_nan(None)).otherwise("tailed")
    )


def cells(frame: pl.DataFrame, columns: list[str] = FEATURES) -> np.ndarray:
    return frame.select(pl.col(columns).cast(pl.Float32)).to_numpy()


def until(frame: pl.DataFrame, last: int) -> pl.DataFrame:
    return frame.filter(pl.col("date") <= day(last))


def garbled(frame: pl.DataFrame, after: int, seed: int) -> pl.DataFrame:
    """Change every row after a day, and remove some of them."""
    rng = np.random.default_rng(seed)
    later = pl.col("date") > day(after)
    other = frame.with_columns(
        pl.when(later).then(pl.Series(rng.normal(-50, 1e3, frame.height))).otherwise(pl.col(name)).alias(name)
        for name in FEATURES
    )
    gone = pl.Series(rng.random(frame.height) < 0.3)
    return other.filter(~(later & gone))


# --- pooled ----------------------------------------------------------------------------------------------


def test_pooled_statistics_equal_those_of_all_rows() -> None:
    rng = np.random.default_rng(2)
    blocks = [rng.normal(3, 2, size=(n, 2)) for n in (4, 9, 1)]
    statistics = DayStatistics(
        np.array([[len(b)] * 2 for b in blocks]),
        np.array([b.mean(axis=0) for b in blocks]),
        np.array([b.var(axis=0) for b in blocks]),
    )
    mean, std = statistics.pooled(slice(0, 2))
    rows = np.concatenate(blocks[:2])
    np.testing.assert_allclose(mean, rows.mean(axis=0))
    np.testing.assert_allclose(std, rows.std(axis=0))


def test_a_feature_without_values_has_mean_0_and_deviation_1() -> None:
    mean, std = DayStatistics.empty(3, 1).pooled(slice(0, 3))
    assert (mean.item(), std.item()) == (0, 1)


# --- frames ----------------------------------------------------------------------------------------------


def test_every_regular_day_of_a_frame_is_standardised_and_other_columns_stay() -> None:
    frame = market(1)
    normalizer = CrossSectionalNormalizerV2()
    done = normalizer.fit_transform(frame)
    assert normalizer.columns == tuple(FEATURES)
    assert done.columns == frame.columns
    assert done.drop(FEATURES).equals(frame.drop(FEATURES))
    result = normalizer.validate_transform(done)
    assert result["ok"], result
    assert result["days"] == 12
    assert result["max_abs_mean"] < 0.05
    assert result["max_std_error"] < 0.05
    assert result["max_abs_value"] <= 5


def test_targets_and_keys_are_never_normalised() -> None:
    frame = market(1).with_columns(pl.lit(1).alias("target_20d"), pl.col("code").cast(pl.Int64))
    normalizer = CrossSectionalNormalizerV2().fit(frame)
    assert normalizer.columns == tuple(FEATURES)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), last=st.integers(0, 10), n_train=st.integers(1, 12))
def test_changing_every_row_after_a_day_changes_no_normalised_value_up_to_it(
    seed: int, last: int, n_train: int
) -> None:
    frame = market(seed)
    changed = garbled(frame, last, seed)
    train = min(n_train - 1, last)
    before = CrossSectionalNormalizerV2().fit(until(frame, train)).transform(frame)
    after = CrossSectionalNormalizerV2().fit(until(changed, train)).transform(changed)
    assert until(before, last).equals(until(after, last))


def test_the_future_may_be_removed_or_infinite() -> None:
    frame = market(5)
    normalizer = CrossSectionalNormalizerV2().fit(until(frame, 4))
    known = until(normalizer.transform(frame), 7)
    assert known.equals(normalizer.transform(until(frame, 7)))
    infinite = frame.with_columns(
        pl.when(pl.col("date") > day(7)).then(np.inf).otherwise("calm").alias("calm"),
    )
    assert known.equals(until(normalizer.transform(infinite), 7))


def test_the_fallback_comes_from_training_rows_only() -> None:
    frame = market(6)
    normalizer = CrossSectionalNormalizerV2().fit(until(frame, 5))
    train = cells(until(frame, 5)).astype(np.float64)
    np.testing.assert_allclose(normalizer.fallback_mean, np.nanmean(train, axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.fallback_std, np.nanstd(train, axis=0), rtol=1e-5)
    mean, std = normalizer.fallback_mean.copy(), normalizer.fallback_std.copy()
    normalizer.transform(garbled(frame, 5, seed=1))
    np.testing.assert_array_equal(normalizer.fallback_mean, mean)
    np.testing.assert_array_equal(normalizer.fallback_std, std)


def test_a_feature_equal_for_all_stocks_takes_the_fallback_and_is_reported() -> None:
    frame = market(7)
    train = until(frame, 5)
    normalizer = CrossSectionalNormalizerV2().fit(train)
    done = normalizer.transform(frame)
    share = cells(train, ["market"]).astype(np.float64)
    expected = (cells(frame, ["market"]) - share.mean()) / share.std()
    np.testing.assert_allclose(cells(done, ["market"]), np.clip(expected, -5, 5), atol=1e-4)
    assert normalizer.report.rows == frame.height
    assert normalizer.report.fallback_by_feature == {"market": frame.height, "rare": frame.height}
    assert normalizer.report.fallback_cells == 2 * frame.height


def test_the_log_names_the_features_that_took_the_fallback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        CrossSectionalNormalizerV2().fit_transform(market(7))
    assert "took training statistics" in caplog.text
    assert "market, rare" in caplog.text


def test_the_fallback_is_clipped_too() -> None:
    frame = market(7)
    outlier = frame.with_columns(
        pl.when(pl.col("date") > day(5)).then(1e9).otherwise("market").alias("market")
    )
    done = CrossSectionalNormalizerV2().fit(until(frame, 5)).transform(outlier)
    assert done.filter(pl.col("date") > day(5))["market"].unique().to_list() == [5.0]


def test_values_whose_squares_overflow_are_clipped_and_the_others_stay_distinct() -> None:
    frame = market(7)
    outlier = (pl.col("date") > day(5)) & pl.col("code").is_in(frame["code"].unique().sort()[:2].to_list())
    done = (
        CrossSectionalNormalizerV2()
        .fit(until(frame, 5))
        .transform(frame.with_columns(pl.when(outlier).then(3e38).otherwise("tailed").alias("tailed")))
    )
    assert np.isfinite(cells(done)).all()
    assert done.filter(outlier)["tailed"].unique().to_list() == [5.0]
    assert done.filter((pl.col("date") > day(5)) & ~outlier)["tailed"].n_unique() > 100


def test_missing_becomes_0_and_stays_visible_in_the_mask() -> None:
    frame = market(8, missing=0.3)
    normalizer = CrossSectionalNormalizerV2().fit(frame)
    mask = normalizer.missing_mask(frame)
    expected = np.isnan(cells(frame))
    np.testing.assert_array_equal(mask.to_numpy(), expected)
    assert mask.columns == FEATURES
    done = cells(normalizer.transform(frame))
    assert (done[expected] == 0).all()
    assert np.isfinite(done).all()
    assert normalizer.report.missing_cells == int(expected.sum())
    assert normalizer.validate_transform(normalizer.transform(frame))["ok"]


@pytest.mark.parametrize("bad", [np.inf, -np.inf, NAN])
def test_a_value_that_is_not_finite_counts_as_missing(bad: float) -> None:
    frame = market(9, missing=0)
    spoiled = frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 17 == 3).then(bad).otherwise(pl.col(name)).alias(name)
        for name in FEATURES
    )
    nulled = frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 17 == 3).then(None).otherwise(pl.col(name)).alias(name)
        for name in FEATURES
    )
    first, second = CrossSectionalNormalizerV2(), CrossSectionalNormalizerV2()
    assert first.fit_transform(spoiled).equals(second.fit_transform(nulled))
    assert first.missing_mask(spoiled).equals(second.missing_mask(nulled))
    assert first.report == second.report
    np.testing.assert_array_equal(first.fallback_mean, second.fallback_mean)


def test_the_order_of_rows_does_not_matter() -> None:
    frame = market(10).with_row_index("row")
    normalizer = CrossSectionalNormalizerV2(feature_columns=FEATURES).fit(frame)
    plain = normalizer.transform(frame)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    done = normalizer.transform(shuffled)
    assert done["row"].equals(shuffled["row"])
    np.testing.assert_allclose(cells(done.sort("row")), cells(plain), atol=1e-4)


def test_the_input_frame_is_not_modified() -> None:
    frame = market(11).with_columns(pl.col(FEATURES).cast(pl.Float32).fill_null(NAN))
    kept = frame.clone()
    before = cells(frame).copy()
    CrossSectionalNormalizerV2().fit_transform(frame)
    np.testing.assert_array_equal(cells(frame), before)
    assert frame.equals(kept)


def test_one_stock_per_day_takes_the_fallback() -> None:
    train = market(12)
    alone = until(train, 3).unique("date", keep="first", maintain_order=True)
    normalizer = CrossSectionalNormalizerV2().fit(train)
    done = normalizer.transform(alone)
    scaled = (cells(alone) - normalizer.fallback_mean) / normalizer.fallback_std
    np.testing.assert_allclose(cells(done), np.nan_to_num(np.clip(scaled, -5, 5)), atol=1e-4)


def test_no_rows_stay_no_rows() -> None:
    frame = market(12)
    assert CrossSectionalNormalizerV2().fit(frame).transform(frame.clear()).is_empty()


def test_a_row_without_a_date_is_refused() -> None:
    frame = market(0)
    lost = frame.with_columns(pl.when(pl.int_range(pl.len()) != 3).then("date").alias("date"))
    with pytest.raises(DataError, match="1 rows to normalise have no date"):
        CrossSectionalNormalizerV2().fit(frame).transform(lost)


def test_another_clip_is_applied() -> None:
    frame = market(13)
    normalizer = CrossSectionalNormalizerV2(robust_clip=3.0)
    done = normalizer.fit_transform(frame)
    assert np.abs(cells(done)).max() == 3
    assert normalizer.validate_transform(done)["ok"]


def test_a_normaliser_survives_json() -> None:
    frame = market(14)
    normalizer = CrossSectionalNormalizerV2(robust_clip=4.0).fit(until(frame, 4))
    again = CrossSectionalNormalizerV2.from_dict(json.loads(json.dumps(normalizer.to_dict())))
    assert again.columns == normalizer.columns
    assert again.robust_clip == 4
    assert again.transform(frame).equals(normalizer.transform(frame))


# --- validate_transform -----------------------------------------------------------------------------------


def test_validation_reports_a_raw_frame_by_feature() -> None:
    frame = market(15, missing=0)
    normalizer = CrossSectionalNormalizerV2().fit(frame)
    result = normalizer.validate_transform(frame)
    assert not result["ok"]
    assert result["violations"]["calm"] == result["violations"]["skewed"] == 12
    assert result["max_abs_mean"] > 1e5


def test_validation_reports_a_single_bad_day() -> None:
    frame = market(16)
    normalizer = CrossSectionalNormalizerV2()
    done = normalizer.fit_transform(frame)
    moved = done.with_columns(
        pl.when(pl.col("date") == day(3)).then(pl.col("calm") + 0.2).otherwise("calm").alias("calm")
    )
    assert normalizer.validate_transform(moved)["violations"] == {"calm": 1}
    squeezed = done.with_columns(
        pl.when(pl.col("date") == day(3)).then(pl.col("calm") * 0.5).otherwise("calm").alias("calm")
    )
    assert normalizer.validate_transform(squeezed)["violations"] == {"calm": 1}


def test_validation_reports_values_beyond_the_clip_and_nulls() -> None:
    frame = market(16)
    normalizer = CrossSectionalNormalizerV2()
    done = normalizer.fit_transform(frame).with_row_index()
    outlier = done.with_columns(pl.when(pl.col("index") == 0).then(9.0).otherwise("rare").alias("rare"))
    assert not normalizer.validate_transform(outlier)["ok"]
    for hole in (None, NAN):
        holed = done.with_columns(pl.when(pl.col("index") == 0).then(hole).otherwise("rare").alias("rare"))
        result = normalizer.validate_transform(holed)
        assert not result["ok"]
        assert result["violations"] == {"rare": 1}


# --- errors ------------------------------------------------------------------------------------------------


def test_a_missing_column_is_named() -> None:
    frame = market(17)
    normalizer = CrossSectionalNormalizerV2().fit(frame)
    with pytest.raises(DataError, match="needs the column tailed, which is missing"):
        normalizer.transform(frame.drop("tailed"))
    with pytest.raises(DataError, match="needs the column date"):
        normalizer.transform(frame.drop("date"))
    with pytest.raises(DataError, match="needs the column nope"):
        CrossSectionalNormalizerV2(feature_columns=["calm", "nope"]).fit(frame)
    with pytest.raises(DataError, match="needs the column rare"):
        normalizer.validate_transform(frame.drop("rare"))


def test_transforming_before_fitting_or_fitting_nothing_is_refused() -> None:
    frame = market(17)
    with pytest.raises(DataError, match="call fit"):
        CrossSectionalNormalizerV2().transform(frame)
    with pytest.raises(DataError, match="no rows or no numeric features"):
        CrossSectionalNormalizerV2().fit(frame.clear())
    with pytest.raises(DataError, match="no rows or no numeric features"):
        CrossSectionalNormalizerV2().fit(frame.select("date", "code", "target_1d"))


@pytest.mark.parametrize("clip", [1.0, 0.0, -5.0, NAN])
def test_a_clip_of_1_or_less_is_refused(clip: float) -> None:
    with pytest.raises(ConfigError, match="robust_clip"):
        CrossSectionalNormalizerV2(robust_clip=clip)


# --- panels ------------------------------------------------------------------------------------------------


def to_panel(frame: pl.DataFrame) -> Panel:
    return Panel.from_frame(frame, FEATURES, (1,))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), n_train=st.integers(1, 12), missing=st.floats(0, 0.4))
def test_a_panel_and_a_frame_are_normalised_alike(seed: int, n_train: int, missing: float) -> None:
    frame = market(seed, missing=missing)
    panel = to_panel(frame)
    of_panel = PanelNormalizer(panel).fit_fold(range(n_train))
    of_frame = CrossSectionalNormalizerV2().fit(until(frame, n_train - 1))
    done = to_panel(of_frame.transform(frame))
    np.testing.assert_allclose(panel.values[panel.mask], done.values[panel.mask], atol=1e-3)
    np.testing.assert_allclose(of_panel.fallback_mean, of_frame.fallback_mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(of_panel.fallback_std, of_frame.fallback_std, rtol=1e-4)
    assert of_panel.report == of_frame.report


def test_stocks_that_do_not_trade_are_0_in_a_normalised_panel() -> None:
    panel = to_panel(market(20))
    PanelNormalizer(panel).fit_fold(range(6))
    assert not panel.mask.all()
    assert (panel.values[~panel.mask] == 0).all()
    assert np.isfinite(panel.values).all()


def test_a_later_fold_rewrites_only_the_fallback_cells() -> None:
    panel = to_panel(market(21))
    normalizer = PanelNormalizer(panel)
    normalizer.fit_fold(range(4))
    first = panel.values.copy()
    normalizer.fit_fold(range(9))
    changed = (first != panel.values).any(axis=(0, 1))
    assert [name for name, moved in zip(FEATURES, changed, strict=True) if moved] == ["market", "rare"]
    normalizer.fit_fold(range(4))
    np.testing.assert_array_equal(panel.values, first)


def test_test_days_change_nothing_in_a_folds_training_days() -> None:
    frame = market(22, n_stocks=60)
    panels = [to_panel(frame), to_panel(garbled(frame, 5, seed=2))]
    normalizers = [PanelNormalizer(panel).fit_fold(range(6)) for panel in panels]
    np.testing.assert_array_equal(panels[0].values[:6], panels[1].values[:6])
    np.testing.assert_array_equal(normalizers[0].fallback_mean, normalizers[1].fallback_mean)
    np.testing.assert_array_equal(normalizers[0].fallback_std, normalizers[1].fallback_std)


def test_the_normaliser_of_a_fold_transforms_frames_of_later_days() -> None:
    frame = market(23)
    panel = to_panel(frame)
    state = PanelNormalizer(panel).fit_fold(range(6)).to_dict()
    later = frame.filter(pl.col("date") > day(8))
    done = to_panel(CrossSectionalNormalizerV2.from_dict(state).transform(later))
    stocks = np.isin(panel.codes, done.codes)
    np.testing.assert_allclose(panel.values[9:, stocks], np.nan_to_num(done.values), atol=1e-3)


@pytest.mark.parametrize("kept", [True, False])
def test_day_statistics_are_kept_on_request_and_undo_the_transformation(kept: bool) -> None:
    frame = market(6, missing=0).sort("date", "code")
    normalizer = CrossSectionalNormalizerV2(cache_stats=kept, feature_columns=["calm"])
    normalized = normalizer.fit_transform(frame)
    if not kept:
        assert normalizer.day_statistics is None
        return
    statistics = normalizer.day_statistics
    assert statistics is not None
    number = frame["date"].rank("dense").to_numpy() - 1
    back = (
        normalized["calm"].to_numpy() * np.sqrt(statistics.variance[number, 0]) + statistics.mean[number, 0]
    )
    np.testing.assert_allclose(back, frame["calm"].to_numpy(), rtol=1e-4)
