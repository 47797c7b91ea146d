"""What a folder says of the run that was cut off in it, and whether that can go on to the same end."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gogooku3.config import RunConfig, load_config
from gogooku3.errors import DataError, choices
from gogooku3.training.reproducibility import versions
from gogooku3.training.run_files import CONFIG, MANIFEST, SPANS
from gogooku3.training.run_folder import RunFolder

_KINDS = {
    **{"data": dict, "versions": dict, "config": dict},
    **{"folds": list, "dropped": list, "resumed": list},
    "threads": int,
}
"""Parts of a manifest that others read, as JSON has them."""

_SPAN_ENDS = tuple(f"{part}_{end}" for part in SPANS for end in ("start", "end"))


@dataclass(frozen=True)
class EarlierRun:
    """A run that was started before.

    Attributes:
        config: as resolved then.
        manifest: as written last; empty where the run was cut off before it.
    """

    config: RunConfig
    manifest: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: RunFolder) -> "EarlierRun":
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


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a run's folder; empty without one.

    Raises:
        DataError: it is not JSON, or a part of it is of another kind than we write.
    """
    file = path / MANIFEST
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); start a new run") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no manifest but {type(content).__name__}; start a new run")
    for part, kind in _KINDS.items():
        if not isinstance(content.get(part), kind | None):
            raise DataError(
                f"{file}: its '{part}' is {type(content[part]).__name__}, not {kind.__name__}; bring "
                "the old file back, or start a new run"
            )
    for flaw in _flaws(content):
        raise DataError(f"{file}: {flaw}; bring the old file back, or start a new run")
    return content


def _flaws(manifest: dict[str, Any]) -> Iterator[str]:
    """What others would stumble over within the parts. A fold's number is that of a folder."""
    data = manifest.get("data") or {}
    if data and not all(isinstance(data.get(name), str) for name in ("path", "fingerprint")):
        yield "its 'data' lacks the path or fingerprint of a data set"
    for fold in manifest.get("folds") or ():
        number = fold.get("fold") if isinstance(fold, dict) else None
        if type(number) is not int or number < 0:
            yield f"its 'folds' has one of number {json.dumps(number)}, not 0 or more"
        elif wrong := [name for name in _SPAN_ENDS if not _is_day(fold.get(name))]:
            yield f"its 'folds' has fold {number} without the days {choices(wrong)}"
    for drop in manifest.get("dropped") or ():
        if not isinstance(drop, dict) or type(drop.get("rows")) is not int:
            yield "its 'dropped' has an entry without a number of rows"


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False


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
