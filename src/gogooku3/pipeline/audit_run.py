"""Audits a complete run: its tables, then its models on data with a changed future.

Compares what the run wrote with what its saved folds predict now.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gogooku3.config import RunConfig, load_config
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel
from gogooku3.data.target_leaks import TargetCopy, future_names, suspicion, suspicious_name
from gogooku3.errors import DataError, choices
from gogooku3.features.quality import QUALITY_FEATURES, normalize_with_quality
from gogooku3.files.atomic import check_output, write_json_atomic
from gogooku3.files.tables import read_table
from gogooku3.inference.predict import FoldPredictions, predict_days
from gogooku3.inference.prepare_days import prepare_days, select_days
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.forecaster import LIGHTGBM, LINEAR, NETWORK
from gogooku3.pipeline.audit_tables import RunAudit, audit_tables
from gogooku3.pipeline.explanations import read_explanations
from gogooku3.pipeline.scoring_settings import configured_series, read_returns
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.reporting.report import ReportInputs, write_report
from gogooku3.runs.folder import AUDIT, CONFIG, GRAPHS, METRICS, PREDICTIONS, REPORT, RETURNS, RunFolder
from gogooku3.runs.json_file import require_json, with_checksum
from gogooku3.runs.manifest import read_manifest
from gogooku3.runs.seal import verify_files
from gogooku3.safety.auditing.differences import differences
from gogooku3.safety.auditing.findings import Finding
from gogooku3.schema import DATE, KEYS, target_column

LATER_DAYS = 30
"""Days after a predicted day that are altered or removed."""
EARLIER_DAYS = 45
"""Days kept before the window and the graph's returns: a month may start that far before the day."""
ROUNDING = 0.01
"""Largest difference between a repeated and a written prediction, in deviations of the day."""
RANK_TOLERANCE = 8.0
"""The same for rank averages, in ranks: scores that round differently may swap with their neighbours."""

Progress = Callable[[str, float], None]
"""Receives the current part and the share done."""

_REPEATED = "repeats the predictions of some test days from the saved models; they must equal those written"
_ALTERED = "alters every feature and target after those days; the predictions must stay bit-identical"
_REMOVED = "removes all rows after those days; the predictions must stay bit-identical"
_SCALES = "fits normaliser and market state again on the fold's training days; they must equal those saved"
_FEATURES = "looks for features that follow a target or later return too closely, or are named like one"
_TARGETS = "compares the scored targets with the data set's"


@dataclass(frozen=True)
class _Run:
    """The parts of a run that the audit reads."""

    path: Path
    manifest: Mapping[str, Any]
    config: RunConfig
    folds: Mapping[int, SavedFold]
    predictions: pl.DataFrame
    frame: pl.DataFrame
    features: list[str]
    copies: tuple[TargetCopy, ...]

    @property
    def calendar(self) -> pl.Series:
        return self.frame[DATE].unique().sort()


def audit_run(
    run: Path | str,
    data_path: Path | str | None = None,
    days_per_fold: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> RunAudit:
    """Audit a run in its folder.

    Args:
        run: its folder.
        data_path: the data set; None takes the path in the manifest.
        days_per_fold: test days per fold on which the models are tested.
        seed: of the altered values.
        progress: receives the progress.

    Raises:
        DataError: not a complete run, or its data set is missing or has changed.
    """
    audited = _read(Path(run), data_path)
    report = progress or (lambda part, share: None)
    report("tables", 0.0)
    graphs = audited.path / GRAPHS
    audit = audit_tables(
        audited.predictions,
        audited.manifest["folds"],
        audited.calendar,
        audited.config.time_series.prediction_horizons,
        audited.config.split.embargo_days,
        read_table(graphs) if graphs.is_file() else None,
        audited.manifest.get("dropped", ()),
        audited.frame.height,
    )
    audit.check("targets", _TARGETS, list(_targets(audited)), f"{audited.predictions.height:,} rows")
    audit.check("features", _FEATURES, list(_futures(audited)), _counted(len(audited.features), "feature"))
    folds = audited.folds
    report("scales", 0.1)
    if audited.config.normalization.cross_sectional.enabled:
        audit.check("scales", _SCALES, list(_scales(audited)), _counted(len(folds), "fold"))
    by_probe: dict[str, list[Finding]] = {_REPEATED: [], _ALTERED: [], _REMOVED: []}
    days = [(number, day) for number in folds for day in _sample(audited, number, days_per_fold)]
    for position, (number, day) in enumerate(days):
        report(f"fold {number}, {day}", 0.2 + 0.8 * position / len(days))
        for probe, findings in _try_day(audited, folds[number], number, day, seed):
            by_probe[probe] += findings
    tested = f"{_counted(len(days), 'test day')} of {_counted(len(folds), 'fold')}"
    for name, probe in (("repeated", _REPEATED), ("altered", _ALTERED), ("removed", _REMOVED)):
        audit.check(name, probe, by_probe[probe], tested, probe=True)
    return audit


def write_audit(run: Path, audit: RunAudit) -> None:
    """Write `audit.json` and update `report.html` in a complete run's folder; the scores are not recomputed.

    Raises:
        DataError: the folder can't be read or written.
    """
    verify_files(run, CONFIG, PREDICTIONS, RETURNS, METRICS, GRAPHS)
    scores = _read_metrics(run)
    evaluation = load_config(run / CONFIG).evaluation
    series = configured_series(read_table(run / PREDICTIONS), evaluation, read_returns(run))
    explanations = read_explanations(run, NETWORK, LIGHTGBM)
    write_json_atomic(run / AUDIT, with_checksum(audit.to_dict()))
    inputs = ReportInputs(read_manifest(run), scores, series, explanations, audit.to_dict())
    write_report(run / REPORT, inputs)


def _read_metrics(run: Path) -> dict[str, Any]:
    return require_json(run / METRICS, {"settings": dict, "models": dict}, "copy the run again")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _read(run: Path, data_path: Path | str | None) -> _Run:
    """Read all that the audit and its report need, so that a damaged file is refused before any work."""
    RunFolder.open(run)
    for name in (AUDIT, REPORT):
        check_output(run / name, Path(name).suffix)
    manifest = read_manifest(run)
    if manifest.get("status") != "complete":
        raise DataError(
            f"the run in {run} is {manifest.get('status', 'of unknown status')}, not complete; finish it "
            f"with `gogooku3 train --resume {run}`, then audit it"
        )
    if missing := [part for part in ("data", "folds") if not manifest.get(part)]:
        raise DataError(f"the manifest of {run} lacks {choices(missing)}; copy the run again")
    verify_files(run, CONFIG, PREDICTIONS, RETURNS, METRICS, GRAPHS)
    _read_metrics(run)
    config = load_config(run / CONFIG)
    data = Path(data_path or manifest["data"]["path"])
    if data_path is None and not data.exists():
        raise DataError(f"the data set of {run}, {data}, no longer exists; name it with --data")
    loader = ProductionDatasetV3(
        data,
        feature_columns=config.dataset.feature_columns,
        target_columns=config.dataset.target_columns,
        start_date=config.dataset.start_date,
        end_date=config.dataset.end_date,
        labels=config.dataset.labels,
        delisting_return=config.evaluation.delisting_return,
    )
    if loader.fingerprint != manifest["data"]["fingerprint"]:
        raise DataError(
            f"{data} is not the data set of {run}: its fingerprint is {loader.fingerprint}, the run's was "
            f"{manifest['data']['fingerprint']}; name the right file with --data"
        )
    folds = {fold["fold"]: SavedFold.load(run, fold["fold"]) for fold in manifest["folds"]}
    # After the folds, whose checksums cover the explanations.
    read_explanations(run, NETWORK, LIGHTGBM)
    predictions = read_table(run / PREDICTIONS)
    frame = loader.load_data(refuse=False)
    return _Run(run, manifest, config, folds, predictions, frame, loader.feature_names, loader.copies)


def _targets(run: _Run) -> Iterator[Finding]:
    """Scored targets that differ from the data set's."""
    for (horizon,), scored in run.predictions.group_by("horizon", maintain_order=True):
        name = target_column(int(str(horizon)))
        joined = scored.join(run.frame.select(*KEYS, name), on=KEYS, how="left")
        same = pl.col("target").cast(pl.Float32).fill_nan(None).eq_missing(pl.col(name).fill_nan(None))
        different = joined.filter(~same)
        if different.height:
            says = f"{different.height:,} scored targets of {horizon} days differ from the data set's"
            yield _finding("targets", name, says, different)


def _futures(run: _Run) -> Iterator[Finding]:
    """Features that hold the future: a leak where `train` would refuse them, else a warning."""
    allowed = run.config.dataset.allow_features or ()
    for copy in run.copies:
        if copy.is_refused and copy.feature not in allowed:
            says = f"{copy}: it contains the future"
            yield Finding("features", "leak", copy.feature, says, first_day=copy.days[0])
        else:
            yield Finding("features", "warning", copy.feature, suspicion(copy), first_day=copy.days[0])
    for name in future_names(run.features):
        yield Finding("features", "warning", name, suspicious_name(name))


def _scales(run: _Run) -> Iterator[Finding]:
    """Folds whose normaliser or market state was not fitted on their training days."""
    horizons = run.config.time_series.prediction_horizons
    panel = Panel.from_frame(run.frame, run.features, horizons, reserve=tuple(QUALITY_FEATURES))
    normalizer = normalize_with_quality(panel, run.config.normalization.cross_sectional.robust_clip)
    for facts in run.manifest["folds"]:
        first, last = (np.datetime64(facts[name]) for name in ("train_start", "validation_end"))
        days = range(int(np.searchsorted(panel.dates, first)), int(np.searchsorted(panel.dates, last)) + 1)
        saved = run.folds[facts["fold"]].state
        expected = {"normalizer": normalizer.fit_fold(days).to_dict()}
        if saved["market_state"]:
            expected["market_state"] = MarketState.fit(normalizer.statistics, days).to_dict()
        for part, state in expected.items():
            if changed := [name for name, value in state.items() if not _alike(value, saved[part][name])]:
                says = (
                    f"fold {facts['fold']}: {part} ({', '.join(changed)}) was not fitted on its training days"
                )
                yield Finding("scales", "leak", part, says)


def _alike(one: Any, other: Any) -> bool:
    """Return True if two JSON values are equal, numbers up to rounding."""
    if isinstance(one, list) and isinstance(other, list) and one and not isinstance(one[0], str):
        left, right = (np.array([np.nan if v is None else v for v in part], float) for part in (one, other))
        return left.shape == right.shape and bool(np.allclose(left, right, rtol=1e-4, equal_nan=True))
    return bool(one == other)


def _sample(run: _Run, fold: int, count: int) -> list[dt.date]:
    """Predicted days of a fold, evenly spread, before the data set's last day."""
    days = run.predictions.filter(pl.col("fold") == fold)[DATE].unique().sort()
    inner = days.filter(days < run.calendar[-1])
    positions = np.unique(np.linspace(0, len(inner) - 1, min(count, len(inner))).astype(int))
    return [inner[int(position)] for position in positions]


def _try_day(
    run: _Run, fold: SavedFold, number: int, day: dt.date, seed: int
) -> Iterator[tuple[str, list[Finding]]]:
    near = _near(run, fold, day)
    before = _tables(fold, near, day)
    yield _REPEATED, list(_unequal_written(run, number, day, before, len(fold.networks) > 1))
    later = pl.col(DATE) > day
    for probe, changed in ((_ALTERED, _altered(near, later, seed)), (_REMOVED, near.filter(~later))):
        findings = []
        for model, after in _tables(fold, changed, day).items():
            values = [name for name in after.columns if name not in KEYS]
            for change in differences(before[model], after, list(KEYS), values):
                what = f"{model}'s {change.column} on {day}"
                says = f"fold {number}: {what} depends on later rows: {change.rows} stocks changed"
                findings.append(Finding("later rows", "leak", change.column, says, change.rows, day, day))
        yield probe, findings


def _near(run: _Run, fold: SavedFold, day: dt.date) -> pl.DataFrame:
    """The rows that the day's inputs need, and some days after it."""
    calendar = run.calendar
    position = int(calendar.search_sorted(day))
    back = fold.sequence_length + EARLIER_DAYS
    if fold.graph_builder is not None:
        back += fold.graph_builder.correlation_window
    first, last = calendar[max(0, position - back)], calendar[min(len(calendar) - 1, position + LATER_DAYS)]
    return run.frame.filter(pl.col(DATE).is_between(first, last))


def _altered(frame: pl.DataFrame, later: pl.Expr, seed: int) -> pl.DataFrame:
    """Replace later values by random ones; the rows stay."""
    random = np.random.default_rng(seed)
    values = [name for name in frame.columns if name not in KEYS]
    return frame.with_columns(
        pl.when(later)
        .then(pl.Series(random.normal(size=frame.height), dtype=pl.Float32))
        .otherwise(pl.col(name))
        .alias(name)
        for name in values
    )


def _tables(fold: SavedFold, frame: pl.DataFrame, day: dt.date) -> dict[str, pl.DataFrame]:
    """Each model's predictions of a day, sorted by the keys."""
    inputs = prepare_days(fold, select_days(fold, frame, day, day))
    predictions: FoldPredictions = predict_days(fold, inputs)
    tables = {f"network {name}": table for name, table in predictions.members.items()}
    tables[NETWORK] = predictions.network
    if predictions.lightgbm is not None:
        tables[LIGHTGBM] = predictions.lightgbm
    if predictions.linear is not None:
        tables[LINEAR] = predictions.linear
    return {name: table.sort(KEYS) for name, table in tables.items()}


def _unequal_written(
    run: _Run, number: int, day: dt.date, repeated: Mapping[str, pl.DataFrame], several: bool
) -> Iterator[Finding]:
    """Written predictions that the saved models don't reproduce."""
    written = run.predictions.filter((pl.col(DATE) == day) & (pl.col("fold") == number))
    for model, table in repeated.items():
        ranked = several and model == NETWORK
        for (horizon,), own in written.filter(pl.col("model") == model).group_by("horizon"):
            column = f"prediction_{horizon}d"
            both = own.join(table.select(*KEYS, column), on=KEYS, how="full", suffix="_repeated")
            gap = (both["prediction"] - both[column]).abs()
            allowed = ROUNDING + (RANK_TOLERANCE / own.height if ranked else 0.0)
            deviation = own["prediction"].std() or 0.0
            far = both.filter(gap.is_null() | (gap > allowed * float(deviation)))  # type: ignore[arg-type]
            if far.height:
                says = f"fold {number}: {far.height} predictions of {model} on {day} are not reproduced"
                yield Finding("repeated", "leak", column, says, far.height, day, day)


def _finding(probe: str, column: str, says: str, rows: pl.DataFrame) -> Finding:
    days = rows[DATE].drop_nulls()
    return Finding(probe, "leak", column, says, rows.height, days.min(), days.max())  # type: ignore[arg-type]
