"""A run's tables are audited against the calendar; every kind of cheating visible in them is found."""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from gogooku3.pipeline.audit_tables import RunAudit, audit_tables, fold_days

CALENDAR = pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 12, 31), eager=True).filter(
    pl.date_range(dt.date(2024, 1, 1), dt.date(2024, 12, 31), eager=True).dt.weekday() < 6
)


def fold(
    number: int, train: tuple[int, int], validation: tuple[int, int], test: tuple[int, int]
) -> dict[str, Any]:
    spans = {"train": train, "validation": validation, "test": test}
    ends = {f"{part}_start": str(CALENDAR[span[0]]) for part, span in spans.items()}
    return {"fold": number, **ends, **{f"{part}_end": str(CALENDAR[span[1]]) for part, span in spans.items()}}


FOLDS = [fold(0, (0, 49), (70, 79), (100, 129)), fold(1, (0, 79), (100, 109), (130, 159))]


def predictions(folds: list[dict[str, Any]] = FOLDS) -> pl.DataFrame:
    random = np.random.default_rng(0)
    parts = []
    for one in folds:
        days = CALENDAR.filter(
            CALENDAR.is_between(*(dt.date.fromisoformat(one[f"test_{e}"]) for e in ("start", "end")))
        )
        keys = pl.DataFrame({"date": days}).join(
            pl.DataFrame({"code": [f"{c}" for c in range(12)]}), how="cross"
        )
        values = {name: random.normal(size=keys.height) for name in ("prediction", "target")}
        parts.append(
            keys.with_columns(
                fold=pl.lit(one["fold"]),
                model=pl.lit("m"),
                horizon=pl.lit(20),
                **{name: pl.Series(drawn) for name, drawn in values.items()},
            )
        )
    return pl.concat(parts)


def graphs() -> pl.DataFrame:
    return pl.DataFrame({"month": ["2024-01", "2024-02"], "as_of": [None, dt.date(2024, 1, 31)]})


def audited(**changes: Any) -> RunAudit:
    given = {
        "predictions": predictions(),
        "folds": FOLDS,
        "calendar": CALENDAR,
        "horizons": [1, 20],
        "embargo_days": 20,
        "graphs": graphs(),
        "dropped": [{"step": "windows", "reason": "too early", "rows": 50}],
        "rows": 1000,
    }
    return audit_tables(**(given | changes))


def test_an_honest_run_is_clean_and_its_numbers_are_reported() -> None:
    audit = audited()
    assert (audit.verdict, audit.findings) == ("clean", [])
    content = audit.to_dict()
    assert content["smallest_gap_days"] == 20
    assert content["dropped"] == [{"step": "windows", "reason": "too early", "rows": 50, "share": 0.05}]
    assert [row["horizon"] for row in content["shuffled_target_ic"]] == [20]
    assert [row["name"] for row in content["controls"]] == [
        "embargo",
        "test rows",
        "graph dates",
        "shuffled targets",
    ]
    assert {row["outcome"] for row in content["controls"]} == {"clean"}


def test_a_missing_gap_is_found_with_the_labels_that_close_in_the_test() -> None:
    close = [fold(0, (0, 49), (70, 94), (100, 129))]
    audit = audited(folds=close, predictions=predictions(close))
    assert audit.verdict == "leaks"
    assert audit.numbers["smallest_gap_days"] == 5
    assert any("15 labels that choose the model close inside the test days" in f.says for f in audit.findings)


def test_predictions_outside_the_test_days_and_duplicates_are_found() -> None:
    shifted = predictions().with_columns(fold=pl.lit(0))
    assert any("360 predictions are outside" in f.says for f in audited(predictions=shifted).findings)
    doubled = pl.concat([predictions(), predictions().head(3)])
    assert any("6 rows are predicted more than once" in f.says for f in audited(predictions=doubled).findings)


def test_a_graph_that_uses_its_own_month_is_found() -> None:
    late = graphs().with_columns(as_of=pl.lit(dt.date(2024, 2, 1)))
    assert any("2 monthly graphs use days" in f.says for f in audited(graphs=late).findings)


def test_without_any_target_the_control_is_incomplete_and_not_clean() -> None:
    blank = predictions().with_columns(target=pl.lit(None, pl.Float64))
    audit = audited(predictions=blank)
    assert audit.verdict == "incomplete"
    assert audit.controls[-1]["detail"] == "no day has enough targets"


def test_fold_days_count_the_calendar() -> None:
    days = fold_days(FOLDS, CALENDAR).group_by("fold", "part").len().sort("fold", "part")
    assert days["len"].to_list() == [30, 50, 10, 30, 80, 10]
