"""From the data set to normalised days in folds: everything that happens before the first fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.labels import label_counts
from gogooku3.data.panel import Panel
from gogooku3.data.panel_reader import read_panel
from gogooku3.data.quality.survivors import survivorship_warning
from gogooku3.errors import ConfigError
from gogooku3.features.dataset_metadata import read_build_metadata
from gogooku3.features.quality import QUALITY_FEATURES, add_quality, normalize_with_quality
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.inference.drift import feature_statistics
from gogooku3.models.forecaster import FoldData
from gogooku3.pipeline.explanations import read_sectors
from gogooku3.pipeline.input_checks import CheckedInputs, check_rows, plan_panel
from gogooku3.pipeline.step_log import StepLog
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.runs.folder import FEATURE_STATISTICS, GRAPHS, RunFolder
from gogooku3.safety.walk_forward import Fold, WalkForwardSplitterV2, split_tail
from gogooku3.schema import CODE, DATE

PANEL_FILE = "panel.f32"
"""In the run's folder while the run is active: a panel that does not fit in memory."""


@dataclass
class PreparedData:
    """The data of all fits.

    Attributes:
        config: of the run.
        panel: normalised; shared by all folds.
        splitter: makes the folds.
        folds: walk-forward folds, as day ranges of the panel.
        fold_facts: one entry per fold for the manifest.
        normalizer: None if features are used as they are.
        returns: raw one-day returns `[days, stocks]`; None without a graph.
        schedule: monthly as-of graphs; None without a graph.
        sectors: sector by code; empty if unknown.
    """

    config: RunConfig
    panel: Panel
    splitter: WalkForwardSplitterV2
    folds: list[Fold]
    fold_facts: list[dict[str, Any]]
    normalizer: PanelNormalizer | None
    returns: np.ndarray | None
    schedule: GraphSchedule | None = None
    sectors: Mapping[str, str] = field(default_factory=dict)

    def fold(self, number: int) -> FoldData:
        """The data of one fold.

        Cells that no day can standardise take the fold's own training statistics. They are written into the
        shared panel, so use one fold at a time.
        """
        fold = self.folds[number]
        fit, validation = self.fit_days(fold)
        normalizer = self.normalizer.fit_fold(fold.train) if self.normalizer else None
        state, market = None, None
        if self.normalizer and self.config.model.use_regime:
            state = MarketState.fit(self.normalizer.statistics, fold.train)
            market = state.transform(self.normalizer.statistics)
        return FoldData(
            number,
            self.panel,
            self.config.time_series.sequence_length,
            fold.train,
            fit,
            validation,
            fold.test,
            market,
            self.schedule,
            self.returns,
            {
                "features": list(self.panel.features),
                "normalizer": normalizer.to_dict() if normalizer else None,
                "market_state": state.to_dict() if state else None,
                "graph": self.config.graph.model_dump(mode="json"),
                "fold": dict(self.fold_facts[number]),
            },
            self.sectors,
        )

    def fit_days(self, fold: Fold) -> tuple[range, range]:
        """The days a fold's models learn from, and the later ones that choose an epoch or number of trees."""
        fraction = self.config.training.validation_fraction
        return split_tail(fold.train, fraction, self.splitter.embargo_days)


def load_frame(inputs: CheckedInputs, log: StepLog) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Read the keys and targets of the data set, and describe the data for the manifest.

    Raises:
        DataError: no rows are left, or models can't learn from them.
    """
    loader = inputs.loader
    frame = loader.load_index()
    check_rows(frame, loader, inputs.config)
    if warning := survivorship_warning(frame):
        log.warn(warning)
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
        "labels": label_counts(frame, inputs.config.time_series.prediction_horizons),
    }
    built = read_build_metadata(loader.data_path) or {}
    return frame, facts | ({"prices": built["prices"]} if "prices" in built else {})


def prepare(
    inputs: CheckedInputs,
    panel: Panel,
    folder: RunFolder,
    log: StepLog,
    folds: Sequence[Fold] | None = None,
) -> PreparedData:
    """Normalise the panel by day, split it into folds and build the graphs.

    Args:
        inputs: checked data set and settings.
        panel: raw; it is normalised in place.
        folder: receives each fold's feature statistics and the summary of the graphs.
        log: receives progress and warnings.
        folds: numbered from 0; None takes those of the splitter.

    Raises:
        DataError: too few days for the folds.
        ConfigError: a given fold has fewer days between training and test than the embargo.
    """
    config = inputs.config
    if folds is not None:
        _check_gaps(folds, inputs.splitter.embargo_days)
    returns = _daily_returns(panel, config)
    with log.step("quality features, normalise by day"):
        normalizer = _normalize(panel, config)
    with log.step("split walk-forward"):
        folds = inputs.splitter.folds(panel.n_days) if folds is None else list(folds)
        data = PreparedData(config, panel, inputs.splitter, folds, [], normalizer, returns)
        data.fold_facts = [_fold_facts(data, fold) for fold in folds]
        _report_split(data, log)
        for fold in folds:
            # The statistics describe what the models see, so the fold's fallback cells must be in place.
            statistics = data.normalizer.statistics if data.normalizer else None
            if data.normalizer:
                data.normalizer.fit_fold(fold.train)
            table = feature_statistics(panel, statistics, fold.train)
            folder.write_table(folder.fold(fold.number) / FEATURE_STATISTICS, table)
    if returns is not None:
        with log.step("build graphs"):
            rules = config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"})
            builder = FinancialGraphBuilder(**rules)
            data.schedule = GraphSchedule.build(panel.dates, panel.codes, returns, builder)
            folder.write_table(GRAPHS, data.schedule.summary())
            log.say(f"   {data.schedule}")
    data.sectors = read_sectors(inputs.loader)
    return data


def build_panel(inputs: CheckedInputs, frame: pl.DataFrame, folder: RunFolder, log: StepLog) -> Panel:
    """Read the cube from the file in blocks of rows, with room for the six quality features."""
    loader, config = inputs.loader, inputs.config
    storage = None
    if plan_panel(loader, config, frame.height, frame[DATE].n_unique(), frame[CODE].n_unique()):
        storage = folder.path / PANEL_FILE
        log.say("   the panel is kept in a memory-mapped file, to stay within the memory limit")
    panel = read_panel(
        loader,
        frame,
        config.time_series.prediction_horizons,
        reserve=tuple(QUALITY_FEATURES),
        storage=storage,
    )
    for suspicion in loader.suspicions:
        log.warn(suspicion)
    length = config.time_series.sequence_length
    early = panel.n_rows - int(panel.sample_mask(length).sum())
    log.drop("windows", f"the window of {length} days starts before the data", early)
    return panel


def _check_gaps(folds: Sequence[Fold], embargo_days: int) -> None:
    """Refuse a fold whose training labels could close in its test days."""
    for fold in folds:
        if fold.gap_days < embargo_days:
            raise ConfigError(
                f"fold {fold.number} has {fold.gap_days} trading days between training and test, but "
                f"split.embargo_days is {embargo_days}; end its training days earlier"
            )


def _daily_returns(panel: Panel, config: RunConfig) -> np.ndarray | None:
    """Raw one-day returns `[days, stocks]` for the graph, before normalisation; None without a graph."""
    if not config.graph.enabled:
        return None
    column = config.graph.return_column or "ret_1d"
    return panel.values[:, :, panel.feature_index(column)].copy()


def _normalize(panel: Panel, config: RunConfig) -> PanelNormalizer | None:
    """Add the quality features and standardise every day, in place; None if the settings turn that off."""
    cross_section = config.normalization.cross_sectional
    if cross_section.enabled:
        return normalize_with_quality(panel, cross_section.robust_clip)
    add_quality(panel)
    np.nan_to_num(panel.values, copy=False)
    return None


def _fold_facts(data: PreparedData, fold: Fold) -> dict[str, Any]:
    """First and last days of a fold's parts, for the manifest."""
    fit, validation = data.fit_days(fold)
    spans = {"train": fit, "validation": validation, "test": fold.test}
    dates = data.panel.dates
    return {
        "fold": fold.number,
        "gap_days": fold.gap_days,
        "embargo_days": data.splitter.embargo_days,
        **{f"{name}_start": str(dates[days.start]) for name, days in spans.items()},
        **{f"{name}_end": str(dates[days.stop - 1]) for name, days in spans.items()},
    }


def _report_split(data: PreparedData, log: StepLog) -> None:
    longest = max(data.splitter.horizons)
    shortest = min(len(fold.test) for fold in data.folds)
    if shortest < longest:
        log.warn(
            f"a fold tests {shortest} days, fewer than the longest horizon of {longest}: its scores at "
            "long horizons rest on one overlapping period. Lower split.n_splits or split.min_train_days"
        )
    embargoed = sum(int(data.panel.mask[f.train.stop : f.test.start].sum()) for f in data.folds)
    log.drop("split", "in the embargo before a fold's test days, summed over folds", embargoed)
