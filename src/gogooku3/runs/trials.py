"""How often the same data has been tried before: read from the run folders, changing none of them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gogooku3.runs.files import MANIFEST, METRICS, read_json


def earlier_sharpes(runs_dir: Path, fingerprint: str, headline_horizon: int | None = None) -> list[float]:
    """Net Sharpe ratios a day of every model of every complete run on the same data, in ascending order.

    A run counts whatever its experiment is called. Models that came out equal to the last bit, such as a
    LightGBM that a change of the network left alone, count once; the oracle is no trial. Folders that can't
    be read, or whose run hasn't ended, are left out.

    Args:
        runs_dir: folder of all runs, `<experiment>/<stamp>/` below it.
        fingerprint: of the data set, as in a run's manifest.
        headline_horizon: runs whose headline is another horizon are left out; null takes them all.
    """
    found: set[float] = set()
    for manifest in runs_dir.glob(f"*/*/{MANIFEST}"):
        about = read_json(manifest)[0] or {}
        if about.get("status") != "complete" or (about.get("data") or {}).get("fingerprint") != fingerprint:
            continue
        scores = read_json(manifest.with_name(METRICS))[0] or {}
        settings = scores.get("settings") or {}
        if headline_horizon is None or settings.get("headline_horizon") == headline_horizon:
            found.update(_sharpes(scores, int(settings.get("periods_per_year", 252))))
    return sorted(found)


def _sharpes(scores: dict[str, Any], periods: int) -> Iterator[float]:
    for entry in (scores.get("models") or {}).values():
        if not entry.get("is_oracle") and entry.get("pooled_sharpe_net") is not None:
            yield entry["pooled_sharpe_net"] / math.sqrt(periods)
