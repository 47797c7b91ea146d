"""The seven steps of one run, from a data set to a scored run folder.

Test days choose nothing: each fold's epoch and number of trees are chosen on the tail of its
training days, behind an embargo of its own.
"""

import shlex
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import GogookuError, Interrupted, file_error
from gogooku3.evaluation.prediction_table import as_enum
from gogooku3.evaluation.scores import score_series
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.inference.drift import feature_statistics
from gogooku3.inference.saved_fold import FEATURE_STATISTICS
from gogooku3.pipeline import prepare_data, train_baseline, train_network
from gogooku3.pipeline.audit_tables import GRAPHS, RunAudit, audit_tables
from gogooku3.pipeline.input_checks import check_inputs, new_splitter, open_dataset
from gogooku3.pipeline.memory_plan import release_memory
from gogooku3.pipeline.prediction_table import long_tables, oracle_tables, rank_average_tables
from gogooku3.pipeline.resume import InterruptedRun
from gogooku3.pipeline.scoring_settings import check_prices, configured_series
from gogooku3.pipeline.step_log import StepLog
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2, PanelNormalizer
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.reporting.report import ReportInputs, write_report
from gogooku3.runs.folder import AUDIT, CONFIG, MANIFEST, METRICS, RunFolder
from gogooku3.runs.listing import earlier_sharpes
from gogooku3.safety.walk_forward import Fold
from gogooku3.schema import CODE, DATE
from gogooku3.system import available_cores
from gogooku3.training.explanations import read_explanations, read_sectors
from gogooku3.training.loggers import require_clients
from gogooku3.training.progress import cpu_hours
from gogooku3.training.reproducibility import require_accelerator, seed_everything, use_threads, versions
from gogooku3.training.stop_signals import StopSignals

NETWORK, BASELINE = "atft_gat_fan", "lightgbm"


class Run:
    """One execution of the pipeline, in a folder that is locked: what the steps hand to one another.

    Args:
        config: as resolved, with the data set's path.
        experiment: name of the experiment.
        runs_dir: folder of all runs.
        verbose: say what each step does.
        earlier: the run that was cut off in `folder`, to be taken to its end; None starts a new one.
        folder: of that run.

    Raises:
        DataError: the data set is not what it should be, or not what it was.
    """

    def __init__(
        self,
        config: RunConfig,
        experiment: str,
        runs_dir: Path,
        verbose: bool,
        earlier: InterruptedRun | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        require_clients(config.logging)
        require_accelerator(config.training.accelerator)
        self.threads = use_threads((earlier and earlier.threads) or config.performance.threads)
        self.experiment = experiment
        self.log = StepLog(verbose)
        self.splitter = new_splitter(config)
        self.builder = FinancialGraphBuilder(
            **config.graph.model_dump(exclude={"enabled", "rebuild_every_epochs"})
        )
        self.loader = open_dataset(config)
        self.config = check_inputs(self.loader, config)
        before = earlier.manifest if earlier else {}
        if earlier:
            earlier.refuse_other_data(self.loader.fingerprint)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.folder = folder or RunFolder(runs_dir, experiment)
        self.created: str = before.get("created", now)
        self.command: str = before.get("command", shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
        self.resumed: list[str] = [*before.get("resumed", []), *([now] if earlier else [])]
        self.stop = StopSignals()
        self.tables: list[pl.DataFrame] = []
        self.one_day: pl.DataFrame | None = None
        self.fold_facts: list[dict[str, Any]] = []
        self.data_facts: dict[str, Any] = {}

    def execute(self) -> dict[str, Any]:
        """All steps; a refusal before training leaves no folder, a later failure says so in it.

        Returns:
            as `SafeTrainingPipeline.run_pipeline`.

        Raises:
            DataError: the data set is not what it should be, or the disk won't take what is written.
            Interrupted: SIGINT or SIGTERM came; its message says how to go on.
        """
        try:
            with self.stop.listening():
                return self._steps()
        except BaseException as error:
            told = self._ended(error)
            if told is error:
                raise
            raise told from error

    def _ended(self, error: BaseException) -> BaseException:
        """What a failure leaves in the folder, and what it is to the user."""
        with suppress(OSError):
            (self.folder.path / prepare_data.PANEL_FILE).unlink(missing_ok=True)
        stopped = self.stop.requested or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
        if stopped is None:
            told = error if isinstance(error, GogookuError) else file_error(error) or error
            if isinstance(told, GogookuError) and not self.tables and not self.resumed:
                self.folder.discard()
                return told
            status = {"status": "failed", "error": f"{type(told).__name__}: {told}"}
        else:
            told = Interrupted(
                stopped,
                f"stopped; what is done lies in {self.folder.path}\n"
                f"go on with: gogooku3 train --resume {shlex.quote(str(self.folder.path))}",
            )
            status = {"status": "interrupted"}
        # The first failure is the one to tell of; on a full disk this one fails too.
        with suppress(OSError, GogookuError):
            self.folder.write_json(MANIFEST, self._manifest("failed", None) | status)
        return told

    def _steps(self) -> dict[str, Any]:
        started = time.perf_counter()
        seed_everything(self.config.training.seed)
        if self.resumed:
            self._say_what_is_kept()
        else:
            self.folder.write_text(CONFIG, self.config.to_yaml())
        calendar, model_path = self._train()
        # The panel, and what was made of it, makes room for the scores.
        release_memory()
        with self.log.step("score and report"):
            self.stop.check()
            scores, report_path, predictions_path = self._score(calendar)
        # The data set still holds what a memory-mapped panel held.
        (self.folder.path / prepare_data.PANEL_FILE).unlink(missing_ok=True)
        results = self._results(scores, time.perf_counter() - started)
        results |= {
            "model_path": str(model_path),
            "report_path": str(report_path),
            "predictions_path": str(predictions_path),
        }
        self.folder.write_json(MANIFEST, self._manifest("complete", results["total_duration"]))
        return results

    def _train(self) -> tuple[pl.Series, Path]:
        """All steps but the last; returns the trading days and where the last network's weights lie."""
        config, log = self.config, self.log
        with log.step("load data"):
            frame, self.data_facts = prepare_data.load_frame(self.loader, config, log)
            self.folder.write_json(MANIFEST, self._manifest("running", None))
            panel = prepare_data.build_panel(frame, self.loader, config, self.folder, log)
            self.one_day = prepare_data.one_day_returns(frame, config)
            del frame
        returns = prepare_data.daily_returns(panel, config)
        with log.step("quality features, normalise by day"):
            normalizer = prepare_data.normalize(panel, config)
        with log.step("split walk-forward"):
            folds, self.fold_facts = prepare_data.split(panel, self.splitter, config, log)
            tested = [panel.dates[fold.test.start : fold.test.stop] for fold in folds]
            check_prices(config.evaluation, pl.Series(np.concatenate(tested)))
        with log.step("train LightGBM"):
            for fold in folds:
                self.stop.check()
                _fit_fallback(normalizer, fold)
                train, test = PanelSlice(panel, fold.train), PanelSlice(panel, fold.test)
                self._keep(
                    train_baseline.train_baseline(fold.number, train, test, config, self.folder),
                    test,
                    fold,
                    BASELINE,
                )
        with log.step("build graphs"):
            schedule = self._graphs(panel, returns)
        self._warn_if_slow(panel, folds)
        with log.step("train ATFT-GAT-FAN"):
            for fold in folds:
                self.stop.check()
                model_path = self._networks(panel, fold, normalizer, schedule, returns)
        return pl.Series(panel.dates), model_path

    def _say_what_is_kept(self) -> None:
        folds = [self.folder.path / f"fold_{number}" for number in range(self.config.split.n_splits)]
        trees = sum(train_baseline.is_finished(place) for place in folds)
        several = self.config.training.seeds or ()
        places = [place / f"seed_{seed}" for place in folds for seed in several] or folds
        networks = sum(train_network.is_finished(place) for place in places)
        print(
            f"resuming {self.folder.path}: data, normalisation and graphs are made again; LightGBM "
            f"is finished in {trees} of {len(folds)} folds, {networks} of {len(places)} networks are",
            file=sys.stderr,
            flush=True,
        )

    def _graphs(self, panel: Panel, returns: np.ndarray | None) -> GraphSchedule | None:
        if returns is None:
            return None
        schedule = GraphSchedule.build(panel.dates, panel.codes, returns, self.builder)
        self.folder.write_table(GRAPHS, schedule.summary())
        self.log.say(f"   {schedule}")
        return schedule

    def _networks(
        self,
        panel: Panel,
        fold: Fold,
        normalizer: PanelNormalizer | None,
        schedule: GraphSchedule | None,
        returns: np.ndarray | None,
    ) -> Path:
        """Train the fold's networks and keep their predictions; returns where the last one's weights lie."""
        config = self.config
        fitted = _fit_fallback(normalizer, fold)
        inputs = feature_statistics(panel, normalizer.statistics if normalizer else None, fold.train)
        self.folder.write_table(self.folder.fold(fold.number) / FEATURE_STATISTICS, inputs)
        state, market = _market_state(normalizer, fold) if config.model.use_regime else (None, None)
        fit_days, validation_days = prepare_data.fit_days(fold, self.splitter, config)
        about = self.fold_facts[fold.number]
        saved = {
            "features": list(panel.features),
            "normalizer": fitted.to_dict() if fitted else None,
            "market_state": state.to_dict() if state else None,
            "graph": config.graph.model_dump(mode="json"),
            "fold": dict(about),
        }
        days = train_network.NetworkFold(
            fold.number,
            train=PanelSlice(panel, fit_days),
            validation=PanelSlice(panel, validation_days),
            test=PanelSlice(panel, fold.test),
            market=market,
            schedule=schedule,
            returns=returns,
            saved=saved,
            sectors=read_sectors(self.loader),
        )
        result = train_network.train_networks(days, config, self.builder, self.folder, self.log, self.stop)
        about["prediction_spread"] = result.prediction_spread
        self._keep(result.predictions, days.test, fold, NETWORK)
        return result.model_path

    def _warn_if_slow(self, panel: Panel, folds: list[Fold]) -> None:
        """Say beforehand when a CPU would take hours."""
        training, networks = self.config.training, len(train_network.network_seeds(self.config))
        if training.accelerator == "gpu" or (training.accelerator == "auto" and torch.cuda.is_available()):
            return
        by_day = panel.sample_mask(self.config.time_series.sequence_length).sum(axis=1)
        trained = [prepare_data.fit_days(fold, self.splitter, self.config)[0] for fold in folds]
        samples = sum(int(by_day[: days.stop].sum()) for days in trained)
        hours = cpu_hours(
            train_network.new_network(self.config), samples * training.epochs * networks, available_cores()
        )
        if hours > 2:
            several = f", {networks} times," if networks > 1 else ""
            self.log.warn(
                f"training {samples:,} samples for up to {training.epochs} epochs{several} may take about "
                f"{hours:.0f} hours on this CPU; use a GPU, or start small: model.hidden_dim=64 "
                "training.epochs=3"
            )

    def _keep(self, wide: pl.DataFrame, test: PanelSlice, fold: Fold, model: str) -> None:
        """Add one model's predictions of a fold's test days to the prediction table."""
        length = self.config.time_series.sequence_length
        self.tables += long_tables(wide, test, length, fold.number, model)

    def _score(self, calendar: pl.Series) -> tuple[dict[str, Any], Path, Path]:
        """Write the prediction table, then audit, score and report it."""
        table = pl.concat(
            [
                *self.tables,
                *rank_average_tables(self.tables, NETWORK, BASELINE),
                *oracle_tables(self.config.dataset.data_path, self.tables, like=NETWORK),
            ]
        )
        if self.one_day is not None:
            table = table.join(self.one_day, on=[DATE, CODE], how="left", maintain_order="left")
        predictions_path = self.folder.write_table("predictions.parquet", table)
        # Names as numbers: scores, audit and report read the table again and again.
        table = table.with_columns(as_enum(table[CODE]), as_enum(table["model"]))
        self.tables = [table]
        # Audited first, so that its memory is free before the daily series are computed.
        audit = self._audit(table, calendar).to_dict()
        self.folder.write_json(AUDIT, audit)
        series = configured_series(table, self.config.evaluation)
        tried = earlier_sharpes(self.folder.path.parents[1], self.data_facts["fingerprint"])
        scores = score_series(series, earlier_sharpes=tried)
        self.folder.write_json(METRICS, scores)
        report_path = self.folder.path / "report.html"
        explanations = read_explanations(self.folder.path, NETWORK, BASELINE)
        manifest = self._manifest("complete", None)
        write_report(report_path, ReportInputs(manifest, scores, series, explanations, audit))
        return scores, report_path, predictions_path

    def _audit(self, table: pl.DataFrame, calendar: pl.Series) -> RunAudit:
        """What the run's tables say of looking ahead; a leak is said aloud."""
        graphs = self.folder.path / GRAPHS
        audit = audit_tables(
            table,
            self.fold_facts,
            calendar,
            self.splitter.horizons,
            self.splitter.embargo_days,
            pl.read_parquet(graphs) if graphs.is_file() else None,
            self.log.dropped,
            self.data_facts["rows"],
        )
        for finding in audit.findings:
            self.log.warn(f"audit: {finding.says}")
        return audit

    def _results(self, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
        network = scores["models"][NETWORK]
        return {
            "total_duration": seconds,
            "best_sharpe": network["best_fold_sharpe"],
            "pooled_sharpe": network["pooled_sharpe_net"],
            "peak_memory_gb": self.log.peak_memory_gb,
            "run_dir": str(self.folder.path),
            "scores": scores,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
        }

    def _manifest(self, status: str, seconds: float | None) -> dict[str, Any]:
        return {
            "experiment": self.experiment,
            "created": self.created,
            "status": status,
            "total_duration_s": seconds,
            "command": self.command,
            "resumed": self.resumed,
            "seeds": list(train_network.network_seeds(self.config)),
            "versions": versions(),
            "threads": self.threads,
            "data": self.data_facts,
            "folds": self.fold_facts,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
            "warnings": self.log.warnings,
            "config": self.config.model_dump(mode="json"),
        }


def _fit_fallback(normalizer: PanelNormalizer | None, fold: Fold) -> CrossSectionalNormalizerV2 | None:
    """Serve the cells that no day carries from the fold's own training days."""
    return normalizer.fit_fold(fold.train) if normalizer else None


def _market_state(
    normalizer: PanelNormalizer | None, fold: Fold
) -> tuple[MarketState, np.ndarray] | tuple[None, None]:
    """How the market's state is scaled by the fold's training days, and the state on every day."""
    if normalizer is None:
        return None, None
    state = MarketState.fit(normalizer.statistics, fold.train)
    return state, state.transform(normalizer.statistics)
