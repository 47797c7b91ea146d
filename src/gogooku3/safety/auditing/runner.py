"""Runs a pipeline on prices and compares its outputs before and after a change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from gogooku3.errors import DataError
from gogooku3.safety.auditing.changes import LATER, Change
from gogooku3.safety.auditing.differences import Difference, differences
from gogooku3.safety.auditing.market import Market
from gogooku3.safety.auditing.outputs import (
    FURTHER_KEYS,
    NEIGHBOURS,
    Library,
    Pipeline,
    as_library,
    library_of,
    output_table,
    parameters,
)
from gogooku3.schema import CODE, DATE, KEYS, is_target_column


@dataclass
class Runner:
    """A pipeline, its inputs and the way its outputs are compared.

    Attributes:
        pipeline: takes prices, returns a table; a parameter `targets` receives the targets.
        library: library of the frames it takes.
        targets: `date, code` and the targets; None if it takes none.
        keys: columns that identify a row in addition to date and code; None: the usual ones.
        ignore: outputs that are not compared, in addition to those named as targets.
        tolerance: relative tolerance for outputs before a cut; 0: bit-identical.
        scale_tolerance: relative tolerance where arithmetic may round differently.
    """

    pipeline: Pipeline
    library: Library
    targets: pl.DataFrame | None = None
    keys: Sequence[str] | None = None
    ignore: Sequence[str] = ()
    tolerance: float = 0.0
    scale_tolerance: float = 1e-4

    def run(self, prices: pl.DataFrame, targets: pl.DataFrame | None = None) -> pl.DataFrame:
        """The output table; exceptions of the pipeline pass through."""
        frames = {} if targets is None else {"targets": as_library(targets, self.library)}
        return output_table(self.pipeline(as_library(prices, self.library), **frames), self.keys)

    def key_columns(self, table: pl.DataFrame) -> list[str]:
        """The columns of an output that identify its rows."""
        further = FURTHER_KEYS if self.keys is None else self.keys
        return [name for name in table.columns if name in KEYS or name in further]

    def value_columns(self, table: pl.DataFrame) -> tuple[list[str], list[str]]:
        """The columns of an output that are compared, and those that are not."""
        keys = self.key_columns(table)
        values = [name for name in table.columns if name not in keys]
        ignored = [name for name in values if is_target_column(name) or name in self.ignore]
        return [name for name in values if name not in ignored], ignored

    def unaltered(self, market: Market) -> pl.DataFrame:
        """The output for unaltered prices."""
        return self.run(market.frame, self._targets(market))

    def differences(self, before: pl.DataFrame, market: Market, change: Change) -> list[Difference]:
        """Differences that a change of the prices makes in outputs that must not depend on it."""
        prices, old_codes = change.apply(market)
        if (targets := self._targets(market)) is not None:
            targets = change.apply_to_targets(targets, market)
        after = self.run(prices, targets)
        keys = self.key_columns(before)
        if old_codes:
            named = [CODE, *(name for name in self.key_columns(after) if name in NEIGHBOURS)]
            after = after.with_columns(pl.col(name).replace(old_codes) for name in named)
            after = after.sort(self.key_columns(after))
        if change.cut is not None:
            before, after = (table.filter(pl.col(DATE) <= change.cut) for table in (before, after))
        tolerance = self.tolerance if change.probe in LATER else max(self.tolerance, self.scale_tolerance)
        values = list(dict.fromkeys([*self.value_columns(before)[0], *self.value_columns(after)[0]]))
        return differences(before, after, keys, values, tolerance)

    def _targets(self, market: Market) -> pl.DataFrame | None:
        """The targets of the market's rows."""
        if self.targets is None:
            return None
        date, code = pl.col(market.date).cast(pl.Date), pl.col(market.code).cast(pl.String)
        rows = market.frame.select(date.alias(DATE), code.alias(CODE))
        return self.targets.join(rows, on=KEYS, how="semi", maintain_order="left")


def first_run(
    pipeline: Pipeline, prices: Any, market: Market, library: Library | None, **options: Any
) -> tuple[Runner, pl.DataFrame]:
    """A runner with the frame library of the pipeline, and the output for unaltered prices.

    If neither `library` nor an annotation decides, Polars is tried first, then pandas.

    Raises:
        DataError: the pipeline fails on unaltered prices, or its result can't be audited.
    """
    if options.get("targets") is None and "targets" in parameters(pipeline):
        raise DataError("the pipeline has a parameter 'targets'; pass a table of them to the audit")
    decided = library or library_of(pipeline, prices)
    candidates: list[Library] = [decided] if decided else ["polars", "pandas"]
    failures = []
    for candidate in candidates:
        runner = Runner(pipeline, candidate, **options)
        try:
            return runner, runner.unaltered(market)
        except DataError:
            raise
        except Exception as error:
            failures.append((candidate, error))
    reasons = "; ".join(f"with {name}: {type(error).__name__}: {error}" for name, error in failures)
    raise DataError(f"the pipeline fails on unaltered prices ({reasons})") from failures[0][1]
