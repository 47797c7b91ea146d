"""What a run writes about itself in `manifest.json`."""

import shlex
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gogooku3.config import RunConfig
from gogooku3.pipeline.plan import network_seeds
from gogooku3.pipeline.step_log import StepLog
from gogooku3.training.reproducibility import versions


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


@dataclass
class RunRecord:
    """The facts of a run, collected while it proceeds.

    Attributes:
        config: as resolved.
        experiment: name of the experiment.
        log: steps, dropped rows and warnings.
        threads: CPU threads of torch.
        created: ISO 8601 in UTC.
        command: the command line.
        resumed: times at which the run was resumed.
        data: path, fingerprint, rows and dates of the data set.
        folds: one entry per fold.
    """

    config: RunConfig
    experiment: str
    log: StepLog
    threads: int
    created: str = field(default_factory=_now)
    command: str = field(default_factory=_command)
    resumed: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    folds: list[dict[str, Any]] = field(default_factory=list)

    def continue_from(self, manifest: dict[str, Any]) -> None:
        """Keep the start of the interrupted run that wrote a manifest, and add the time of this resume."""
        self.created = manifest.get("created", self.created)
        self.command = manifest.get("command", self.command)
        self.resumed = [*manifest.get("resumed", []), _now()]

    def manifest(self, status: str, seconds: float | None = None) -> dict[str, Any]:
        """The content of `manifest.json`."""
        return {
            "experiment": self.experiment,
            "created": self.created,
            "status": status,
            "total_duration_s": seconds,
            "command": self.command,
            "resumed": self.resumed,
            "seeds": list(network_seeds(self.config)),
            "versions": versions(),
            "threads": self.threads,
            "data": self.data,
            "folds": self.folds,
            "steps": self.log.steps,
            "dropped": self.log.dropped,
            "warnings": self.log.warnings,
            "config": self.config.model_dump(mode="json"),
        }
