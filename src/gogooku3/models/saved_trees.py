"""LightGBM's trees on disk: its own text, and a checksum behind it. Nothing unchecked reaches its parser.

That parser takes the whole process down at a text cut short, and reads some damaged numbers as others.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from gogooku3.errors import DataError
from gogooku3.files.atomic import write_text_atomic

if TYPE_CHECKING:
    import lightgbm

_MARK = "\nsha256="


def save_trees(path: Path, booster: "lightgbm.Booster") -> Path:
    """Write a booster's text with its checksum as the last line; LightGBM itself reads over that."""
    text = booster.model_to_string()
    write_text_atomic(path, f"{text}{_MARK}{_checksum(text)}\n")
    return path


def load_trees(path: Path) -> "lightgbm.Booster":
    """Read a booster that `save_trees` wrote. The checksum tells damage; it is no guard against forgery.

    Raises:
        DataError: the file is not there, or not as it was written.
    """
    import lightgbm

    try:
        text, _, told = path.read_text(encoding="utf-8").rpartition(_MARK)
    except UnicodeDecodeError:
        text, told = "", ""
    if told.strip() != _checksum(text):
        raise DataError(
            f"{path} is not the LightGBM model that was written there: its checksum does not fit. Copy it "
            "again, or train anew"
        )
    return lightgbm.Booster(model_str=text)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
