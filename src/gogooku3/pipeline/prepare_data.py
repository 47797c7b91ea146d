"""From the data set's file to normalised days in folds: the steps before anything is trained."""

from typing import Any

import numpy as np
import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel
from gogooku3.data.panel_reader import read_panel
from gogooku3.features.dataset_metadata import read_build_metadata
from gogooku3.features.quality import QUALITY_FEATURES, add_quality, normalize_with_quality
from gogooku3.pipeline.input_checks import check_rows, plan_panel
from gogooku3.pipeline.step_log import StepLog
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.runs.folder import RunFolder
from gogooku3.safety.walk_forward import Fold, WalkForwardSplitterV2, split_tail
from gogooku3.schema import CODE, DATE, ONE_DAY, ONE_DAY_RETURN, target_column

PANEL_FILE = "panel.f32"
"""In the run's folder while it runs: a panel that does not fit in memory."""


def load_frame(
    loader: ProductionDatasetV3, config: RunConfig, log: StepLog
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The data set's keys and targets, checked, and what the manifest says about them.

    Raises:
        DataError: no rows are left, or they can't be learned from.
    """
    frame = loader.load_index()
    check_rows(frame, loader, config)
    for reason, rows in loader.dropped.items():
        log.drop("load data", reason, rows)
    facts = {
        "path": str(loader.data_path),
        "fingerprint": loader.fingerprint,
        "rows": frame.height,
        "n_stocks": frame[CODE].n_unique(),
        "n_days": frame[DATE].n_unique(),
        "first_date": str(frame[DATE].min()),
        "last_date": str(frame[DATE].max()),
    }
    built = read_build_metadata(loader.data_path) or {}
    return frame, facts | ({"prices": built["prices"]} if "prices" in built else {})


def build_panel(
    frame: pl.DataFrame, loader: ProductionDatasetV3, config: RunConfig, folder: RunFolder, log: StepLog
) -> Panel:
    """The cube, read from the file some rows at a time, with room for the six quality features."""
    storage = None
    if plan_panel(loader, config, frame.height, frame[DATE].n_unique(), frame[CODE].n_unique()):
        storage = folder.path / PANEL_FILE
        log.say("   the panel goes to a memory-mapped file, to keep within the memory limit")
    panel = read_panel(
        loader,
        frame,
        config.time_series.prediction_horizons,
        reserve=tuple(QUALITY_FEATURES),
        storage=storage,
    )
    length = config.time_series.sequence_length
    early = panel.n_rows - int(panel.sample_mask(length).sum())
    log.drop("windows", f"the window of {length} days starts before the data", early)
    return panel


def daily_returns(panel: Panel, config: RunConfig) -> np.ndarray | None:
    """Raw one-day returns `[days, stocks]` for the graph, before normalisation; None without a graph."""
    if not config.graph.enabled:
        return None
    column = config.graph.return_column or "ret_1d"
    return panel.values[:, :, panel.feature_index(column)].copy()


def one_day_returns(frame: pl.DataFrame, config: RunConfig) -> pl.DataFrame | None:
    """The returns portfolios earn, `date, code, return_1d`; None where horizon 1 is predicted."""
    if ONE_DAY in config.time_series.prediction_horizons:
        return None
    return frame.select(DATE, CODE, pl.col(target_column(ONE_DAY)).alias(ONE_DAY_RETURN))


def normalize(panel: Panel, config: RunConfig) -> PanelNormalizer | None:
    """Add the quality features and standardise every day, in place.

    Returns:
        None where the settings leave features as they are.
    """
    cross_section = config.normalization.cross_sectional
    if cross_section.enabled:
        return normalize_with_quality(panel, cross_section.robust_clip)
    add_quality(panel)
    np.nan_to_num(panel.values, copy=False)
    return None


def split(
    panel: Panel, splitter: WalkForwardSplitterV2, config: RunConfig, log: StepLog
) -> tuple[list[Fold], list[dict[str, Any]]]:
    """The folds, and what the manifest says about each."""
    folds = splitter.folds(panel.n_days)
    facts = []
    for fold in folds:
        fit, validation = fit_days(fold, splitter, config)
        spans = {"train": fit, "validation": validation, "test": fold.test}
        facts.append(
            {
                "fold": fold.number,
                "gap_days": fold.gap_days,
                "embargo_days": splitter.embargo_days,
                **{f"{name}_start": str(panel.dates[days.start]) for name, days in spans.items()},
                **{f"{name}_end": str(panel.dates[days.stop - 1]) for name, days in spans.items()},
            }
        )
    longest = max(splitter.horizons)
    shortest = min(len(fold.test) for fold in folds)
    if shortest < longest:
        log.warn(
            f"a fold tests {shortest} days, fewer than the longest horizon of {longest}: its scores at "
            "long horizons rest on one overlapping period. Lower split.n_splits or split.min_train_days"
        )
    embargoed = sum(int(panel.mask[f.train.stop : f.test.start].sum()) for f in folds)
    log.drop("split", "in the embargo before a fold's test days, summed over folds", embargoed)
    return folds, facts


def fit_days(fold: Fold, splitter: WalkForwardSplitterV2, config: RunConfig) -> tuple[range, range]:
    """The days a fold's network is trained on, and the later ones that choose its epoch."""
    return split_tail(fold.train, config.training.validation_fraction, splitter.embargo_days)
