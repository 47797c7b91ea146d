"""Writes a run's prediction table, then audits, scores and reports exactly what was written."""

from dataclasses import replace
from typing import Any

import polars as pl

from gogooku3.errors import GogookuError
from gogooku3.evaluation.prediction_table import as_enum
from gogooku3.evaluation.scores import score_series
from gogooku3.files.tables import read_table
from gogooku3.models.forecaster import LIGHTGBM, NETWORK
from gogooku3.pipeline.audit_tables import RunAudit, audit_tables
from gogooku3.pipeline.explanations import read_explanations
from gogooku3.pipeline.prediction_table import oracle_tables, rank_average_tables
from gogooku3.pipeline.run_record import RunRecord
from gogooku3.pipeline.scoring_settings import configured_series
from gogooku3.reporting.report import ReportInputs, write_report
from gogooku3.runs.folder import AUDIT, GRAPHS, METRICS, PREDICTIONS, REPORT, RETURNS, RunFolder
from gogooku3.runs.json_file import with_checksum
from gogooku3.runs.listing import earlier_sharpes
from gogooku3.safety.walk_forward import WalkForwardSplitterV2
from gogooku3.schema import CODE, DATE, ONE_DAY, ONE_DAY_RETURN


def score_run(
    record: RunRecord,
    splitter: WalkForwardSplitterV2,
    folder: RunFolder,
    tables: list[pl.DataFrame],
    calendar: pl.Series,
    returns: pl.DataFrame,
) -> dict[str, Any]:
    """Write `predictions.parquet`, `returns.parquet`, `audit.json`, `metrics.json` and `report.html`.

    Args:
        record: the run's settings and facts.
        splitter: made the folds.
        folder: of the run.
        tables: prediction tables, one per model, fold and horizon; emptied here, to free their memory.
        calendar: all trading days of the data set.
        returns: from `daily_returns`, what portfolios earn.

    Returns:
        the scores.
    """
    config = record.config
    averages = rank_average_tables(tables, NETWORK, LIGHTGBM)
    oracle = oracle_tables(config.dataset.data_path, tables, like=NETWORK)
    table = pl.concat([*tables, *averages, *oracle])
    tables.clear()
    if ONE_DAY not in config.time_series.prediction_horizons:
        # So that the table can be scored without its run.
        one_day = returns.select(DATE, CODE, pl.col("return").cast(pl.Float32).alias(ONE_DAY_RETURN))
        table = table.join(one_day, on=[DATE, CODE], how="left", maintain_order="left")
    folder.write_table(PREDICTIONS, table)
    folder.write_table(RETURNS, returns)
    # As enums: audit, scores and report read the names again and again.
    table = table.with_columns(as_enum(table[CODE]), as_enum(table["model"]))
    # The audit comes first, so that its memory is free before the daily series are computed.
    audit = _audit(record, splitter, folder, table, calendar).to_dict()
    folder.write_json(AUDIT, with_checksum(audit))
    series = configured_series(table, config.evaluation, returns)
    tried = earlier_sharpes(folder.path.parents[1], record.data["fingerprint"])
    scores = score_series(series, earlier_sharpes=tried)
    folder.write_json(METRICS, scores)
    _report(record, folder, ReportInputs(record.manifest("complete"), scores, series, audit=audit))
    return scores


def _report(record: RunRecord, folder: RunFolder, inputs: ReportInputs) -> None:
    """Write the report. A chart that fails is a warning: models and scores are complete without it."""
    path = folder.path / REPORT
    try:
        explanations = read_explanations(folder.path, NETWORK, LIGHTGBM)
        write_report(path, replace(inputs, explanations=explanations))
        return
    except (OSError, GogookuError):
        # A full disk or a damaged file: the user can fix it and resume.
        raise
    except Exception as error:
        record.log.warn(
            f"the report has no explanations: {type(error).__name__}: {error}. Please report this bug"
        )
    write_report(path, replace(inputs, manifest=record.manifest("complete")))


def _audit(
    record: RunRecord,
    splitter: WalkForwardSplitterV2,
    folder: RunFolder,
    table: pl.DataFrame,
    calendar: pl.Series,
) -> RunAudit:
    """Audit the run's tables for looking ahead; every finding is also a warning."""
    graphs = folder.path / GRAPHS
    audit = audit_tables(
        table,
        record.folds,
        calendar,
        splitter.horizons,
        splitter.embargo_days,
        read_table(graphs) if graphs.is_file() else None,
        record.log.dropped,
        record.data["rows"],
    )
    for finding in audit.findings:
        record.log.warn(f"audit: {finding.says}")
    return audit
