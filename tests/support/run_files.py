"""Changes a run's files together with their checksums, as a forger would."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gogooku3.runs.json_file import OWN_CHECKSUM, with_checksum
from gogooku3.runs.seal import CHECKSUMS, run_checksums


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place; its own checksum, if it has one, is made to match."""
    content = json.loads(path.read_text())
    own = content.pop(OWN_CHECKSUM, None)
    change(content)
    path.write_text(json.dumps(content if own is None else with_checksum(content)))


def match_checksums(run: Path) -> None:
    """Make the manifest's checksums match the run's files."""
    change_json(run / "manifest.json", lambda manifest: manifest.update({CHECKSUMS: run_checksums(run)}))
