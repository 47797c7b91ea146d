"""Writes a finished run's audit, and its report anew with it, from what the folder holds."""

import json
from pathlib import Path

from gogooku3.config import load_config
from gogooku3.files.atomic import write_text_atomic
from gogooku3.files.tables import read_table
from gogooku3.pipeline.audit_tables import RunAudit
from gogooku3.pipeline.run import BASELINE, NETWORK
from gogooku3.pipeline.scoring_settings import scoring_arguments
from gogooku3.reporting.report import write_report
from gogooku3.runs.files import AUDIT, CONFIG, METRICS
from gogooku3.runs.manifest import read_manifest
from gogooku3.training.explanations import read_explanations


def write_audit(run: Path, audit: RunAudit) -> None:
    """Write `audit.json` into a complete run's folder, and `report.html` with it; nothing is scored again.

    Raises:
        DataError: the folder can't be read or written.
    """
    told = audit.to_dict()
    write_text_atomic(run / AUDIT, json.dumps(told, indent=2) + "\n")
    scores = json.loads((run / METRICS).read_text(encoding="utf-8"))
    write_report(
        run / "report.html",
        read_manifest(run),
        scores,
        read_table(run / "predictions.parquet"),
        explanations=read_explanations(run, NETWORK, BASELINE),
        prices=scoring_arguments(load_config(run / CONFIG).evaluation)["prices"],
        audit=told,
    )
