"""Keys and targets that `train` refuses; shared by the trainer and `data validate`."""

from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.data.quality.problem import Problem, problem, problem_at
from gogooku3.schema import CODE, DATE, KEYS, MIN_STOCKS


def stock_problems(keys: pl.DataFrame, standardised: bool = True) -> Iterator[Problem]:
    """Too few stocks: only one, or no day with enough to standardise.

    `keys` has `date, code`; rows without either are ignored. `standardised` is True if features are
    standardised by day.
    """
    keys = keys.select(KEYS).drop_nulls()
    if keys.is_empty():
        return
    if (stocks := keys[CODE].n_unique()) == 1:
        check = f"only one stock, {keys[CODE][0]}, so there is nothing to rank"
        yield problem("few_stocks", CODE, 1, check=check, advice="add the other stocks of its market")
        return
    day, most = keys.group_by(DATE).len().sort("len", DATE, descending=[True, False]).row(0)
    if standardised and most < MIN_STOCKS:
        check = f"no day has more than {most} of the {stocks} stocks; standardising a day takes {MIN_STOCKS}"
        advice = "add stocks, or leave features as they are: normalization.cross_sectional.enabled=false"
        yield problem("few_stocks", CODE, most, examples=[{DATE: day}], check=check, advice=advice)


def target_problems(frame: pl.DataFrame, targets: Sequence[str]) -> Iterator[Problem]:
    """Problems of targets without information, or with values that are not returns.

    `frame` has `date, code` and the targets as Float32, unknown ones null.
    """
    for name in targets:
        known, rows = frame[name].drop_nulls(), f"{frame.height:,} rows"
        if known.is_empty():
            advice = (
                "compute it from prices with `gogooku3 data build`, or leave its horizon out of "
                "time_series.prediction_horizons"
            )
            check = f"unknown in all {rows}"
            yield problem("no_values", name, frame.height, check=check, advice=advice, rows=frame.height)
        elif infinite := int(known.is_infinite().sum()):
            check = f"infinite in {infinite:,} of {rows}"
            yield from problem_at("infinite_target", frame, frame[name].is_infinite(), name, check)
        elif known.min() == known.max():
            check = f"always {known[0]:g}, in all {len(known):,} rows where it is known"
            yield problem("constant_target", name, len(known), check=check, rows=frame.height)
