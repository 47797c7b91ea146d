"""Runs a pipeline on prices and reads its output; compares two runs the way a change asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gogooku3.errors import DataError
from gogooku3.safety.auditing.changes import LATER, Change, Market
from gogooku3.safety.auditing.differences import Moved, differences
from gogooku3.safety.auditing.outputs import (
    FURTHER_KEYS,
    NEIGHBOURS,
    Library,
    Pipeline,
    as_library,
    output_table,
    takes_targets,
    wanted_library,
)
from gogooku3.schema import CODE, DATE, KEYS, is_target_column


@dataclass
class Runner:
    """A pipeline with how it is called, how its rows are told apart and what of it is compared.

    Attributes:
        pipeline: prices in, a table out; with a parameter `targets` it is given those too.
        frames_of: the library of the frames it takes.
        targets: `date, code` and the targets; None: it takes none.
        keys: columns beside date and code that identify a row; None: the usual ones.
        ignore: outputs that are not compared, besides those named as targets.
        tolerance: for what must stay bit for bit; 0 means that.
        scale_tolerance: for what arithmetic in another order may round.
    """

    pipeline: Pipeline
    frames_of: Library
    targets: pl.DataFrame | None = None
    keys: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    tolerance: float = 0.0
    scale_tolerance: float = 1e-4
    calls: int = field(default=0, init=False)

    def run(self, prices: pl.DataFrame, targets: pl.DataFrame | None = None) -> pl.DataFrame:
        """The output table; what the pipeline itself raises passes through."""
        self.calls += 1
        given = as_library(prices, self.frames_of)
        if targets is None:
            return output_table(self.pipeline(given), self.keys)
        return output_table(self.pipeline(given, targets=as_library(targets, self.frames_of)), self.keys)

    def key_columns(self, table: pl.DataFrame) -> list[str]:
        """The columns of an output that identify its rows."""
        further = FURTHER_KEYS if self.keys is None else self.keys
        return [name for name in table.columns if name in KEYS or name in further]

    def value_columns(self, table: pl.DataFrame) -> tuple[list[str], list[str]]:
        """The columns of an output that are compared, and those that are not."""
        keys = self.key_columns(table)
        values = [name for name in table.columns if name not in keys]
        left = [name for name in values if is_target_column(name) or name in self.ignore]
        return [name for name in values if name not in left], left

    def unaltered(self, market: Market) -> pl.DataFrame:
        """The output for prices as they are."""
        return self.run(market.frame, self._targets(market))

    def moved(self, before: pl.DataFrame, market: Market, change: Change) -> list[Moved]:
        """What a change of the prices moves, in outputs that it must leave alone."""
        prices, back = change.apply(market)
        targets = self._targets(market)
        if targets is not None:
            targets = change.apply_to_targets(targets, market)
        after = self.run(prices, targets)
        if back:
            after = _called_back(after, back, self.key_columns(after))
        if change.cut is not None:
            before, after = (table.filter(pl.col(DATE) <= change.cut) for table in (before, after))
        exact = change.probe in LATER
        tolerance = self.tolerance if exact else max(self.tolerance, self.scale_tolerance)
        values = list(dict.fromkeys([*self.value_columns(before)[0], *self.value_columns(after)[0]]))
        return differences(before, after, self.key_columns(before), values, tolerance)

    def _targets(self, market: Market) -> pl.DataFrame | None:
        if self.targets is None:
            return None
        rows = market.frame.select(pl.col(market.date).cast(pl.Date).alias(DATE), _as_code(market.code))
        return self.targets.join(rows, on=[DATE, CODE], how="semi", maintain_order="left")


def first_run(
    pipeline: Pipeline, given: Any, market: Market, library: Library | None, **options: Any
) -> tuple[Runner, pl.DataFrame]:
    """A runner with the frame library that the pipeline wants, and its output for unaltered prices.

    Without annotation or wish, Polars is tried first, then pandas where it is installed.

    Raises:
        DataError: the pipeline fails on unaltered prices, or does not return what can be audited.
    """
    if options.get("targets") is None and takes_targets(pipeline):
        raise DataError("the pipeline has a parameter 'targets'; give the audit a table of them to pass on")
    wanted = library or wanted_library(pipeline, given)
    tries: list[Library] = [wanted] if wanted else ["polars", "pandas"]
    failures = []
    for each in tries:
        runner = Runner(pipeline, each, **options)
        try:
            return runner, runner.unaltered(market)
        except DataError:
            raise
        except Exception as error:
            failures.append((each, error))
    reasons = "; ".join(f"given {each}: {type(error).__name__}: {error}" for each, error in failures)
    raise DataError(f"the pipeline fails on unaltered prices ({reasons})") from failures[0][1]


def _called_back(table: pl.DataFrame, back: dict[str, str], keys: list[str]) -> pl.DataFrame:
    """Outputs under the codes that the stocks had before the change."""
    named = [CODE, *(name for name in keys if name in NEIGHBOURS)]
    return table.with_columns(pl.col(name).replace(back) for name in named).sort(keys)


def _as_code(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).alias(CODE)
