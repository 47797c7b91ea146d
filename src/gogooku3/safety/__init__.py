"""Walk-forward splits and the look-ahead audit. No training or scoring; names load at first use."""

from typing import TYPE_CHECKING

from gogooku3.lazy import lazy_names

if TYPE_CHECKING:
    from gogooku3.safety.auditing.audit import audit
    from gogooku3.safety.auditing.findings import AuditReport, Finding
    from gogooku3.safety.auditing.folds import audit_folds
    from gogooku3.safety.auditing.outputs import output_table

__all__ = ["AuditReport", "Finding", "audit", "audit_folds", "output_table"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AuditReport": "gogooku3.safety.auditing.findings",
        "Finding": "gogooku3.safety.auditing.findings",
        "audit": "gogooku3.safety.auditing.audit",
        "audit_folds": "gogooku3.safety.auditing.folds",
        "output_table": "gogooku3.safety.auditing.outputs",
    },
)
