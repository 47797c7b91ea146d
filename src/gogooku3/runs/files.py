"""What the files in a run's folder are called, and a look into those that may be missing or broken."""

import json
from pathlib import Path
from typing import Any

CONFIG, MANIFEST, METRICS = "config.yaml", "manifest.json", "metrics.json"
AUDIT, LOCK = "audit.json", ".lock"
SPANS = ("train", "validation", "test")
"""Parts of a fold whose first and last days a manifest has, as `train_start` and `train_end`."""


def read_json(path: Path) -> tuple[dict[str, Any] | None, str]:
    """A JSON object, or None and what is wrong; a file that isn't there is not wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path.name} can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        return None, f"{path.name} is not JSON"
    if not isinstance(content, dict):
        return None, f"{path.name} holds {type(content).__name__}, not an object"
    return content, ""
