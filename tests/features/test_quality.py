"""The six quality features: by hand, against a slow implementation, and equal from frame and cube."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from gogooku3.data.panel import Panel
from gogooku3.errors import ConfigError, DataError
from gogooku3.features.quality import (
    QUALITY_FEATURES,
    QualityFinancialFeaturesGenerator,
    add_quality,
    normalize_with_quality,
    quality_block,
    quality_cube,
)
from gogooku3.features.within_day import quantiles
from gogooku3.preprocessing.cross_section import PanelNormalizer

NAMES = list(QUALITY_FEATURES)


def day_values(n_stocks: int = 40, n_features: int = 13, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, size=(n_stocks, n_features)) * 10.0 ** rng.integers(-3, 4, n_features)
    values += 100 * rng.normal(size=n_features)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, 4] = 3.0
    return values.astype(np.float32)


def slow(values: np.ndarray, sigma: float) -> np.ndarray:
    values = values.astype(np.float64)
    mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    constant = std <= 1e-6 * np.abs(mean)
    z = (values - mean) / np.where(constant, np.inf, std)
    known = np.isfinite(z)
    n = known.sum(axis=1)
    size = np.abs(z)
    return np.column_stack([
        n / values.shape[1], (size > sigma).sum(axis=1) / n, np.nanmean(size, axis=1), np.nanstd(z, axis=1),
        ((z > sigma).sum(axis=1) - (z < -sigma).sum(axis=1)) / n, np.minimum(np.nanmax(size, axis=1), 10),
    ])  # fmt: skip


def dataset(n_days: int = 4, n_stocks: int = 30, n_features: int = 7, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for day in range(n_days):
        codes = sorted(f"{c:04d}" for c in rng.choice(9000, n_stocks, replace=False))
        values = day_values(n_stocks, n_features, seed + day)
        frames.append(pl.DataFrame({
            "date": [day] * n_stocks, "code": codes, "target_1d": rng.normal(size=n_stocks),
            **{f"f{i}": values[:, i] for i in range(n_features)},
        }))  # fmt: skip
    return pl.concat(frames).with_columns(
        pl.col(pl.Float32).fill_nan(None), date=pl.date(2024, 1, 1 + pl.col("date"))
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_a_block_equals_the_slow_implementation(seed: int, sigma: float) -> None:
    values = day_values(seed=seed)
    np.testing.assert_allclose(quality_block(values, sigma, False), slow(values, sigma), rtol=1e-4, atol=1e-5)


def test_quantiles_are_between_zero_and_one_and_ties_share_them() -> None:
    values = np.float32([[0, 0], [0, 0], [0, 9]])
    got = quality_block(values)
    assert got[:, 2].tolist() == pytest.approx([2 / 6, 2 / 6, 5 / 6])
    assert ((got[:, 2:] > 0) & (got[:, 2:] < 1)).all()


def test_exactly_six_float32_columns_are_added_and_the_rest_is_untouched() -> None:
    frame = dataset()
    got = QualityFinancialFeaturesGenerator().generate_quality_features(frame)
    assert got.columns == [*frame.columns, *NAMES]
    assert got.select(NAMES).dtypes == [pl.Float32] * 6
    assert got.select(frame.columns).equals(frame)


def test_the_order_of_rows_changes_no_value() -> None:
    frame = dataset()
    generator = QualityFinancialFeaturesGenerator()
    shuffled = frame.sample(fraction=1, shuffle=True, seed=3)
    expected = generator.generate_quality_features(frame).sort("date", "code")
    got = generator.generate_quality_features(shuffled)
    assert got.select(frame.columns).equals(shuffled)
    assert got.sort("date", "code").equals(expected)


def test_quantiles_are_average_ranks_and_nan_stays_nan() -> None:
    rng = np.random.default_rng(3)
    values = rng.choice(
        np.float32([-np.inf, -2.5, -1e-40, -0.0, 0.0, 1e-40, 3.0, np.inf, np.nan, -np.nan]), (20, 9)
    )
    values[0] = np.nan
    below = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = (below + equal / 2) / (~np.isnan(values)).sum(axis=1, keepdims=True)
    expected[np.isnan(values)] = np.nan
    np.testing.assert_array_equal(quantiles(values), expected.astype(np.float32))


@pytest.mark.parametrize("as_quantiles", [True, False])
def test_a_cube_and_a_frame_give_bit_identical_values(as_quantiles: bool) -> None:
    frame = dataset()
    features = [f"f{i}" for i in range(7)]
    codes, dates = frame["code"].unique().sort(), frame["date"].unique().sort()
    day, stock = dates.search_sorted(frame["date"]).to_numpy(), codes.search_sorted(frame["code"]).to_numpy()
    cube = np.full((len(dates), len(codes), 7), np.nan, np.float32)
    mask = np.zeros(cube.shape[:2], bool)
    cube[day, stock], mask[day, stock] = frame.select(features).to_numpy(), True
    got = quality_cube(cube, mask, use_cross_sectional_quantiles=as_quantiles)
    expected = (
        QualityFinancialFeaturesGenerator(as_quantiles)
        .generate_quality_features(frame)
        .select(NAMES)
        .to_numpy()
    )
    np.testing.assert_array_equal(got[day, stock], expected)
    assert np.isnan(got[~mask]).all()


def test_a_panel_changes_only_in_its_reserved_columns() -> None:
    frame = dataset()
    features = [f"f{i}" for i in range(7)]
    panel = Panel.from_frame(frame, features, reserve=NAMES)
    raw = panel.values[..., :7].copy()
    add_quality(panel)
    np.testing.assert_array_equal(panel.values[..., :7], raw)
    np.testing.assert_array_equal(panel.values[..., 7:], quality_cube(raw, panel.mask))


def test_one_pass_is_bit_identical_to_adding_then_normalising() -> None:
    features = [f"f{i}" for i in range(7)]
    # Days of 25 and of 26 stocks.
    frame = dataset(n_days=20).filter(pl.int_range(pl.len()) % 7 > 0).with_columns(f6=pl.lit(3.0))
    one, other = (Panel.from_frame(frame, features, reserve=NAMES) for _ in range(2))
    add_quality(other)
    normalizers = normalize_with_quality(one), PanelNormalizer(other)
    for normalizer in normalizers:
        normalizer.fit_fold(range(9))
    np.testing.assert_array_equal(one.values, other.values)
    for name in ("count", "mean", "variance"):
        np.testing.assert_array_equal(*(getattr(normalizer.statistics, name) for normalizer in normalizers))
    assert normalizers[0].missing_cells == normalizers[1].missing_cells > 0
    assert (one.values[:, :, 6][one.mask] == 0).all() and one.values[..., -6:].any()


@pytest.mark.parametrize("step", [add_quality, normalize_with_quality])
def test_a_panel_without_reserved_columns_is_refused(step: Callable[[Panel], object]) -> None:
    with pytest.raises(DataError, match=r"last columns must be reserved for quality_coverage.*they are f1"):
        step(Panel.from_frame(dataset(), [f"f{i}" for i in range(7)]))


def test_another_day_and_the_targets_change_nothing() -> None:
    frame = dataset()
    generator = QualityFinancialFeaturesGenerator()
    first = pl.col("date") == frame["date"].min()
    altered = frame.with_columns(
        pl.when(first).then(pl.col("f0")).otherwise(-7 * pl.col("f0")).alias("f0"), target_1d=pl.lit(0.5)
    )
    left = generator.generate_quality_features(frame).filter(first).select(NAMES)
    assert generator.generate_quality_features(altered).filter(first).select(NAMES).equals(left)


def test_a_row_without_values_has_coverage_zero_and_nulls() -> None:
    frame = dataset(n_days=1).with_columns(
        pl.when(pl.int_range(pl.len()) == 2).then(None).otherwise(pl.col(f"f{i}")).alias(f"f{i}")
        for i in range(7)
    )
    got = QualityFinancialFeaturesGenerator().generate_quality_features(frame).select(NAMES).row(2)
    assert got == (0.0, None, None, None, None, None)


def test_infinities_count_as_unknown() -> None:
    values = day_values()
    infinite = np.where(np.isnan(values), np.float32(np.inf), values)
    np.testing.assert_array_equal(quality_block(infinite), quality_block(values))


def test_a_single_stock_is_not_an_outlier() -> None:
    assert quality_block(np.float32([[1, 2, 3]]), 2.0, False).tolist() == [[1, 0, 0, 0, 0, 0]]


def test_a_large_mean_does_not_hide_the_spread() -> None:
    values = (1e4 + np.random.default_rng(0).normal(size=(50, 3))).astype(np.float32)
    np.testing.assert_allclose(quality_block(values, 1.0, False), slow(values, 1.0), rtol=2e-3, atol=1e-3)


def test_the_generator_refuses_bad_settings_and_columns() -> None:
    frame = dataset()
    with pytest.raises(ConfigError, match="sigma_threshold"):
        QualityFinancialFeaturesGenerator(sigma_threshold=0)
    generator = QualityFinancialFeaturesGenerator()
    with pytest.raises(DataError, match="quality_coverage"):
        generator.generate_quality_features(generator.generate_quality_features(frame))
    with pytest.raises(DataError, match="nowhere"):
        QualityFinancialFeaturesGenerator(feature_columns=["nowhere"]).generate_quality_features(frame)
    with pytest.raises(DataError, match="code"):
        QualityFinancialFeaturesGenerator(feature_columns=["code"]).generate_quality_features(frame)
    with pytest.raises(DataError, match="date"):
        generator.generate_quality_features(frame.drop("date"))
    with pytest.raises(DataError, match="no numeric feature"):
        generator.generate_quality_features(frame.select("date", "code", "target_1d"))
