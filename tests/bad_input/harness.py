"""Runs commands on bad input in a separate folder and checks the quality of their messages."""

import contextlib
import datetime as dt
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from market_table import weekdays

from gogooku3.cli.main import main

ADVICE = re.compile(
    r"(?i)\b(add|allow|bring|build|call|check|choose|close|convert|copy|correct|drop|export|fill|free|give|install|keep|"
    r"leave|lower|make|move|name|pass|pick|predict|put|raise|remove|rename|save|scale|score|see|set|split|start|swap|take|"
    r"train|try|use|wait|write|did you mean|the default is|there are|"
    r"it has|it covers|must be one of|has:|the groups are|the names are)\b"
)
"""Words that advise an action or list the choices."""

NOISE = ("Traceback", "internal error", "polars.", "pyo3", "PanicException", "pydantic.dev", "0x", "<class")
"""Technical output that a message to users must not have."""

LONGEST = 900
"""Length limit of a message, in characters."""


@dataclass(frozen=True)
class Outcome:
    """Exit code, output and changed files of a command."""

    code: int
    out: str
    err: str
    changed: tuple[str, ...]

    @property
    def message(self) -> str:
        """The error on one line, without colours and boxes."""
        start = self.err.rfind("error: ")
        text = self.err[start:] if start >= 0 else re.sub(r"[╭╮╰╯│─]", " ", self.err)
        return " ".join(text.split())


@dataclass(frozen=True)
class Case:
    """Input that must be refused, with words that the message must have."""

    name: str
    make: Callable[[Path], Sequence[object]]
    """Writes the input into an empty folder and returns the command's arguments."""
    words: tuple[str, ...]
    """The thing at fault and its value."""

    def __str__(self) -> str:
        return self.name


def table(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """One test per case, named after it."""
    assert len({case.name for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", cases, ids=str)


def run(arguments: Sequence[object], folder: Path) -> Outcome:
    """Run a command in `folder`, in this process."""
    before = contents(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
    after = contents(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    assert isinstance(code, int)
    return Outcome(code, out.getvalue(), err.getvalue(), tuple(changed))


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file and folder below."""
    return {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*"))}


def _digest(path: Path) -> str:
    if not path.is_file() or not os.access(path, os.R_OK):
        return "not a file"
    return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()


def refusal_problems(outcome: Outcome, words: Sequence[str]) -> Iterator[str]:
    """Problems of a refusal; none for a good one."""
    if outcome.code != 2:
        yield f"exit code {outcome.code}, not 2"
    if outcome.changed:
        yield f"it changed {outcome.changed}"
    yield from message_problems(outcome.message, words)
    if outcome.err.count("error: ") > 1:
        yield "more than one error"


def message_problems(message: str, words: Sequence[str]) -> Iterator[str]:
    """Problems of a message, which must name the thing at fault, its value and what to try, briefly."""
    yield from (f"it lacks {word!r}" for word in words if word not in message)
    yield from (f"it has {noise!r}" for noise in NOISE if noise in message)
    if not ADVICE.search(message):
        yield "it gives no advice"
    if len(message) > LONGEST:
        yield f"{len(message)} characters"


def refuse(case: Case, folder: Path) -> None:
    """Assert that a case is refused with a good message."""
    outcome = run(case.make(folder), folder)
    assert not list(refusal_problems(outcome, case.words)), f"{outcome.err}\n{outcome.out}"


def days(count: int, start: dt.date = dt.date(2022, 1, 3)) -> list[dt.date]:
    """Weekdays from `start`."""
    return weekdays(count, start)


def prices(n_stocks: int = 3, n_days: int = 6) -> pl.DataFrame:
    """Random prices in canonical columns, sorted by (code, date)."""
    random = np.random.default_rng(0)
    keys = pl.DataFrame({"code": [f"{1301 + stock}" for stock in range(n_stocks)]}).join(
        pl.DataFrame({"date": days(n_days)}), how="cross"
    )
    close = 100 * np.exp(np.cumsum(random.normal(scale=0.01, size=keys.height)))
    return keys.select(
        "date",
        "code",
        open=pl.Series(close),
        high=pl.Series(close * 1.01),
        low=pl.Series(close * 0.99),
        close=pl.Series(close),
        volume=pl.Series(random.integers(1, 1000, keys.height).astype(float)),
    )


def data_set(n_stocks: int = 12, n_days: int = 90) -> pl.DataFrame:
    """A data set of three features and four targets, sorted by (date, code)."""
    random = np.random.default_rng(0)
    keys = pl.DataFrame({"date": days(n_days)}).join(
        pl.DataFrame({"code": [f"{1301 + stock}" for stock in range(n_stocks)]}), how="cross"
    )
    names = ["target_1d", "target_5d", "target_10d", "target_20d", "ret_1d", "x", "y"]
    columns = [pl.Series(name, random.normal(scale=0.02, size=keys.height), pl.Float32) for name in names]
    return keys.with_columns(columns)


def predictions(n_stocks: int = 6, n_days: int = 12) -> pl.DataFrame:
    """A prediction table of two models, one fold and one horizon."""
    random = np.random.default_rng(0)
    keys = data_set(n_stocks, n_days).select("date", "code", "target_1d")
    tables = [
        keys.select(
            "date",
            "code",
            pl.lit(0, pl.Int32).alias("fold"),
            pl.lit(model).alias("model"),
            pl.lit(1, pl.Int32).alias("horizon"),
            pl.Series("prediction", random.normal(size=keys.height), pl.Float32),
            pl.col("target_1d").alias("target"),
        )
        for model in ("mine", "yours")
    ]
    return pl.concat(tables)


TINY = (
    *("model.input_dim=9", "model.hidden_dim=8", "model.num_heads=2", "model.num_layers=1"),
    *("training.epochs=1", "training.progress_bar=false", "logging.tensorboard=false"),
    *("time_series.sequence_length=5", "split.n_splits=1", "split.min_train_days=55"),
    *("lightgbm.num_boost_round=5", "lightgbm.min_data_in_leaf=5"),
)
"""Overrides with which `train` takes `data_set()` in a second."""
