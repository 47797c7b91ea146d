"""What the folders of runs say of them, complete or not: read without loading a model, changing nothing."""

import fcntl
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gogooku3.runs.files import AUDIT, CONFIG, LOCK, MANIFEST, METRICS, read_json

SCORES = {"ic_1d": "max", "rank_ic": "max", "sharpe_net": "max", "drawdown_net": "min"}
"""Headline scores of a model, and which end is the better one."""


@dataclass(frozen=True)
class RunSummary:
    """One run as its folder tells it.

    Attributes:
        path: the folder, `<runs>/<experiment>/<stamp>`.
        status: `complete`, `running`, `interrupted`, `failed`; `cut off` where it says running but no
            process is at work in it, `broken` where its files can't be read.
        created: when it was started, ISO 8601 in UTC; empty if unknown.
        note: what is wrong with it; empty if nothing is.
        data: path, fingerprint, rows and dates of the data set; empty if unknown.
        scores: of each competing model, `SCORES` pooled over folds, None where one can't be had; the IC is
            that of 1 day, the others are those of the headline horizon. The oracle is left out.
        headline_horizon: trading days ahead; None without scores.
        audit: verdict of its audit; None without one.
        manifest_config: the settings as the manifest has them; None takes those of `config.yaml`.
    """

    path: Path
    status: str
    created: str = ""
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    headline_horizon: int | None = None
    audit: str | None = None
    manifest_config: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, path: Path) -> "RunSummary":
        """What a folder tells; whatever state it is in, this does not fail."""
        about, problem = read_json(path / MANIFEST)
        if about is None:
            # The configuration is written first, the manifest once the data has been read.
            status = "broken" if problem or not (path / CONFIG).is_file() else _alive(path)
            return cls(path, status, note=problem or ("" if status == "running" else f"no {MANIFEST}"))
        status, note = _line(about.get("status")), _line(about.get("error"))
        if not status:
            status, note = "broken", f"no status in {MANIFEST}"
        if status == "running":
            status = _alive(path)
        audit, audit_problem = read_json(path / AUDIT)
        metrics, metrics_problem = read_json(path / METRICS)
        horizon, scores = _headline(metrics or {})
        problem = metrics_problem or audit_problem
        if status == "complete" and not scores:
            status, problem = "broken", problem or f"no scores in {METRICS}"
        return cls(
            path,
            status,
            created=_line(about.get("created")),
            note=note or problem,
            data=_mapping(about.get("data")),
            scores=scores,
            headline_horizon=horizon,
            audit=_line((audit or {}).get("verdict")) or None,
            manifest_config=_mapping(about.get("config")) or None,
        )

    @property
    def name(self) -> str:
        """`<experiment>/<stamp>`."""
        return f"{self.experiment}/{self.path.name}"

    @property
    def experiment(self) -> str:
        """The folder's parent names it."""
        return self.path.parent.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key; empty where none can be read."""
        return dict(_flat(self.manifest_config or _read_yaml(self.path / CONFIG)))

    def best(self, score: str) -> float | None:
        """The best model's headline score; None without one."""
        found = [value for each in self.scores.values() if (value := each[score]) is not None]
        return (max if SCORES[score] == "max" else min)(found, default=None)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the settings, for JSON."""
        return {
            "run": str(self.path),
            "experiment": self.experiment,
            "status": self.status,
            "created": self.created or None,
            "note": self.note or None,
            "data": dict(self.data),
            "headline_horizon": self.headline_horizon,
            "scores": {model: dict(scores) for model, scores in self.scores.items()},
            "audit": self.audit,
        }


def find_runs(runs_dir: Path) -> list[RunSummary]:
    """Every run below a folder, the newest first; a folder with neither manifest nor settings is none."""
    places = {path.parent for name in (MANIFEST, CONFIG) for path in runs_dir.glob(f"*/*/{name}")}
    return sorted(map(RunSummary.read, places), key=_age, reverse=True)


def sorted_by(runs: Sequence[RunSummary], score: str) -> list[RunSummary]:
    """Runs by their best model's score, the best first; those without one last."""
    sign = -1.0 if SCORES[score] == "max" else 1.0
    return sorted(runs, key=lambda run: math.inf if (best := run.best(score)) is None else sign * best)


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """The settings that are not the same in all runs: by dotted key, one value a run, None where unset.

    Runs whose settings can't be read count as without any difference: all their values are None.
    """
    known = [run.settings for run in runs if run.settings]
    keys = sorted({key for settings in known for key in settings})
    return {
        key: [run.settings.get(key) for run in runs]
        for key in keys
        if any(settings.get(key) != known[0].get(key) for settings in known)
    }


def _age(run: RunSummary) -> tuple[str, str]:
    """By the folder's stamp, for it is there whatever the manifest says; ties by experiment."""
    return run.path.name, run.experiment


def _headline(metrics: Mapping[str, Any]) -> tuple[int | None, dict[str, dict[str, float | None]]]:
    """The headline horizon, and by competing model the scores of `SCORES`."""
    horizon = _mapping(metrics.get("settings")).get("headline_horizon")
    if not isinstance(horizon, int):
        return None, {}
    scores: dict[str, dict[str, float | None]] = {}
    for model, entry in sorted(_mapping(metrics.get("models")).items()):
        blocks = _mapping(_mapping(entry).get("horizons"))
        one, main = (_mapping(_mapping(blocks.get(str(days))).get("pooled")) for days in (1, horizon))
        if blocks and not entry.get("is_oracle"):
            scores[model] = {
                "ic_1d": _number(one.get("mean_ic")),
                "rank_ic": _number(main.get("mean_rank_ic")),
                "sharpe_net": _number(main.get("sharpe_net")),
                "drawdown_net": _number(main.get("max_drawdown_net")),
            }
    return horizon, scores


def _alive(path: Path) -> str:
    """Whether a process is at work in a folder that doesn't say it has ended; it holds the folder's lock."""
    try:
        handle = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "cut off"
    try:
        # Shared, and given back at once.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "running"
    finally:
        os.close(handle)
    return "cut off"


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        return _mapping(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    # Neither NaN nor infinite, nor a whole number too large for a float.
    return float(value) if isinstance(value, int | float) and abs(value) < 1e300 else None


def _line(value: Any) -> str:
    """Text on one line; empty for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else ""
