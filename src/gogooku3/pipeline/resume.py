"""Checks whether an interrupted run can be resumed: same settings, libraries and data set.

`SafeTrainingPipeline.resume` calls these checks; `fit.run_fits` then reads back what is complete.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gogooku3.config import RunConfig, load_config
from gogooku3.errors import DataError
from gogooku3.runs.folder import CONFIG, RunFolder
from gogooku3.runs.manifest import read_manifest
from gogooku3.training.reproducibility import versions


@dataclass(frozen=True)
class InterruptedRun:
    """A run that was started and has not completed.

    Attributes:
        config: as resolved at the start.
        manifest: as written last; empty if the run stopped before writing one.
    """

    config: RunConfig
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder) -> "InterruptedRun":
        """Read the run in a folder.

        Raises:
            DataError: the run is complete, or its settings or libraries have changed.
        """
        manifest = read_manifest(folder.path)
        if manifest.get("status") == "complete":
            raise DataError(f"the run in {folder.path} is complete; there is nothing to resume")
        # Versions first: another version may have settings that are unknown here.
        if manifest:
            _refuse_other_versions(folder.path, manifest)
        config = load_config(folder.path / CONFIG)
        if manifest:
            _refuse_other_settings(folder.path, config, manifest)
        return cls(config, manifest)

    @property
    def threads(self) -> int | None:
        """CPU threads of torch that the run used; None if unknown."""
        return self.manifest.get("threads")

    def refuse_other_data(self, fingerprint: str) -> None:
        """Refuse a data set that is not the run's.

        Raises:
            DataError: the fingerprint differs.
        """
        data = self.manifest.get("data") or {}
        if data and data["fingerprint"] != fingerprint:
            raise DataError(
                f"{data['path']} has changed since the run was started (fingerprint "
                f"{data['fingerprint']} then, {fingerprint} now); restore the old file, or start a new run"
            )


def _refuse_other_settings(path: Path, config: RunConfig, manifest: dict[str, Any]) -> None:
    then, now = manifest.get("config") or {}, json.loads(json.dumps(config.model_dump(mode="json")))
    for group in sorted({*then, *now}):
        before, after = then.get(group) or {}, now.get(group) or {}
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                raise DataError(
                    f"{path / CONFIG} says {group}.{name} is {after.get(name)}, but the run was started with "
                    f"{before.get(name)}; restore it, or start a new run"
                )


def _refuse_other_versions(path: Path, manifest: dict[str, Any]) -> None:
    then, now = manifest.get("versions") or {}, versions()
    for name, version in now.items():
        # The platform's name changes with every kernel and does not affect results.
        if name != "platform" and then.get(name) != version:
            raise DataError(
                f"the run in {path} was started with {name} {then.get(name)}, but this is {version}: results "
                f"could differ; install {name} {then.get(name)}, or start a new run"
            )
