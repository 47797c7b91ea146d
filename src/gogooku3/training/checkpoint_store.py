"""Checkpoints of a training under way: tensors as safetensors, the rest as JSON, each with a checksum.

Two are kept: the newest and the one before, which serves where the newest is damaged. Nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gogooku3.files.atomic import atomic_path, write_text_atomic

KEPT = 2


class CheckpointStore:
    """The numbered checkpoints in one folder.

    The JSON file is written last and holds the checksums of both, so a checkpoint counts once it is whole.

    Args:
        folder: made at the first `save`, removed by `clear`.
        warn: told of every damaged checkpoint.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn

    def save(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write one more checkpoint, then drop those that are no longer kept.

        Args:
            tensors: by name.
            state: what JSON can hold; floats come back as the same bits, NaN included.

        Raises:
            DataError: the disk is full, read-only or gone; the earlier checkpoints stay.
        """
        from safetensors.torch import save_file

        numbers = self._numbers()
        number = max(numbers, default=0) + 1
        weights = self._tensors(number)
        with atomic_path(weights) as temporary:
            save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, temporary)
            checksum = _checksum(temporary.read_bytes())
        text = json.dumps(dict(state))
        content = {"tensors": checksum, "state": _checksum(text.encode()), "content": text}
        write_text_atomic(self._state(number), json.dumps(content) + "\n")
        for old in numbers[: max(0, len(numbers) + 1 - KEPT)]:
            self._state(old).unlink(missing_ok=True)
            self._tensors(old).unlink(missing_ok=True)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and state of the newest checkpoint that is whole; None without one."""
        for number in reversed(self._numbers()):
            try:
                return self._read(number)
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                self._warn(
                    f"{self._state(number)}: this checkpoint is damaged ({reason}); using the one before"
                )
                self._state(number).unlink(missing_ok=True)
        return None

    def clear(self) -> None:
        """Remove every checkpoint."""
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir(), key=lambda path: path.suffix):
                path.unlink()
            self.folder.rmdir()

    def _read(self, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        from safetensors.torch import load

        content = json.loads(self._state(number).read_text(encoding="utf-8"))
        weights, text = self._tensors(number).read_bytes(), content["content"]
        if _checksum(weights) != content["tensors"] or _checksum(text.encode()) != content["state"]:
            raise ValueError("its checksum does not fit")
        return load(weights), json.loads(text)

    def _numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdecimal())

    def _state(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"

    def _tensors(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
