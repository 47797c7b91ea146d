"""What `train` refuses of a data set's keys and targets, whoever asks: the trainer itself, or `validate`."""

from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.data.quality.problem import Problem, at_rows, problem
from gogooku3.schema import CODE, DATE, KEYS, MIN_STOCKS


def stock_problems(keys: pl.DataFrame, standardised: bool = True) -> Iterator[Problem]:
    """Too few stocks to rank, or on every day too few to be standardised among themselves.

    Args:
        keys: `date, code`; rows without either don't count.
        standardised: whether a day's stocks are to be.
    """
    keys = keys.select(KEYS).drop_nulls()
    if keys.is_empty():
        return
    if (stocks := keys[CODE].n_unique()) == 1:
        check = f"one stock, {keys[CODE][0]}, and nothing to rank it among"
        yield problem("few_stocks", CODE, 1, "add the other stocks of its market", check=check)
        return
    day, most = keys.group_by(DATE).len().sort("len", DATE, descending=[True, False]).row(0)
    if standardised and most < MIN_STOCKS:
        check = (
            f"no day has more than {most} of the {stocks} stocks, and to standardise them among themselves "
            f"takes {MIN_STOCKS}"
        )
        advice = "add stocks, or leave features as they are: normalization.cross_sectional.enabled=false"
        yield problem("few_stocks", CODE, most, advice, {DATE: day}, check=check)


def target_problems(frame: pl.DataFrame, targets: Sequence[str]) -> Iterator[Problem]:
    """Targets that say nothing, or what no return is.

    Args:
        frame: `date, code` and the targets as they are trained on, Float32, unknown ones null.
        targets: columns of it.
    """
    for name in targets:
        known, rows = frame[name].drop_nulls(), f"{frame.height:,} rows"
        if known.is_empty():
            advice = (
                "make it from prices with `gogooku3 data build`, or leave its horizon out of "
                "time_series.prediction_horizons"
            )
            check = f"unknown in all {rows}"
            yield problem("no_values", name, frame.height, advice, check=check, rows=frame.height)
        elif infinite := int(known.is_infinite().sum()):
            advice, check = "write null where a return is unknown", f"infinite in {infinite:,} of {rows}"
            yield from at_rows("infinite_target", frame, frame[name].is_infinite(), name, advice, check)
        elif known.min() == known.max():
            check = f"always {known[0]:g}, in all {len(known):,} rows where it is known"
            advice = "check how it was made"
            yield problem("constant_target", name, len(known), advice, check=check, rows=frame.height)
