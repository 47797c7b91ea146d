"""What a folder says of the run that was cut off in it, and whether that can go on to the same end."""

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
    """A run that was started before.

    Attributes:
        config: as resolved then.
        manifest: as written last; empty where the run was cut off before it.
    """

    config: RunConfig
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder) -> "InterruptedRun":
        """The run in a folder, which can go on: not complete, of the same settings and the same libraries.

        Raises:
            DataError: it can't, and why.
        """
        manifest = read_manifest(folder.path)
        if manifest.get("status") == "complete":
            raise DataError(f"the run in {folder.path} is complete; there is nothing to resume")
        # Of another version, settings may be unknown here: the version is what to tell of.
        if manifest:
            _refuse_other_versions(folder.path, manifest)
        config = load_config(folder.path / CONFIG)
        if manifest:
            _refuse_other_settings(folder.path, config, manifest)
        return cls(config, manifest)

    @property
    def threads(self) -> int | None:
        """CPU threads of torch it ran with; None if unknown."""
        return self.manifest.get("threads")

    def refuse_other_data(self, fingerprint: str) -> None:
        """Refuse a data set that has changed since.

        Raises:
            DataError: it has.
        """
        data = self.manifest.get("data") or {}
        if data and data["fingerprint"] != fingerprint:
            raise DataError(
                f"{data['path']} has changed since the run was started (fingerprint "
                f"{data['fingerprint']} then, {fingerprint} now); bring the old file back, or start a new run"
            )


def _refuse_other_settings(path: Path, config: RunConfig, manifest: dict[str, Any]) -> None:
    then, now = manifest.get("config") or {}, json.loads(json.dumps(config.model_dump(mode="json")))
    for group in sorted({*then, *now}):
        before, after = then.get(group) or {}, now.get(group) or {}
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                raise DataError(
                    f"{path / CONFIG} says {group}.{name} is {after.get(name)}, but the run was started with "
                    f"{before.get(name)}; put it back, or start a new run"
                )


def _refuse_other_versions(path: Path, manifest: dict[str, Any]) -> None:
    then, now = manifest.get("versions") or {}, versions()
    for name, version in now.items():
        # The platform's name changes with every kernel, and decides no bit.
        if name != "platform" and then.get(name) != version:
            raise DataError(
                f"the run in {path} was started with {name} {then.get(name)}, but this is {version}: the end "
                f"would be of neither; install {name} {then.get(name)}, or start a new run"
            )
