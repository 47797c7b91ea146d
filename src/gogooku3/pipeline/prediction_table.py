"""Builds the prediction table: the models' predictions, their rank average, and the oracle."""

from pathlib import Path

import polars as pl

from gogooku3.data.panel import PanelSlice
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.evaluation.rank_average import RANK_AVERAGE, rank_average
from gogooku3.files.tables import read_table
from gogooku3.schema import CODE, DATE


def long_tables(
    wide: pl.DataFrame, test: PanelSlice, sequence_length: int, fold: int, model: str
) -> list[pl.DataFrame]:
    """One prediction table per horizon, with targets.

    Args:
        wide: `date, code, prediction_{h}d`, the samples of `test` in order.
        test: the days that were predicted; targets are read from its panel.
        sequence_length: days of a window; a row is a sample if its window is inside the panel.
        fold: number of the fold.
        model: name of the model.
    """
    day, stock = test.rows(sequence_length)
    return [
        wide.select(
            DATE,
            CODE,
            pl.lit(fold, pl.Int32).alias("fold"),
            pl.lit(model).alias("model"),
            pl.lit(horizon, pl.Int32).alias("horizon"),
            pl.col(f"prediction_{horizon}d").cast(pl.Float32).alias("prediction"),
            pl.Series("target", test.panel.targets[day, stock, position]).fill_nan(None),
        )
        for position, horizon in enumerate(test.panel.horizons)
    ]


def rank_average_tables(tables: list[pl.DataFrame], first: str, second: str) -> list[pl.DataFrame]:
    """The rank average of two models as one more model, on the rows that both predict.

    Args:
        tables: from `long_tables`.
        first, second: names of the models.
    """
    by_key = {(table["model"][0], table["fold"][0], table["horizon"][0]): table for table in tables}
    averaged = []
    for (model, fold, horizon), table in by_key.items():
        other = by_key.get((second, fold, horizon))
        if model == first and other is not None:
            average = rank_average([each.select(DATE, CODE, "prediction") for each in (table, other)])
            averaged.append(
                table.drop("prediction")
                .join(average, on=[DATE, CODE], how="inner", maintain_order="left")
                .with_columns(pl.lit(RANK_AVERAGE).alias("model"), pl.col("prediction").cast(pl.Float32))
                .select(table.columns)
            )
    return averaged


def oracle_tables(data_path: Path, tables: list[pl.DataFrame], like: str) -> list[pl.DataFrame]:
    """The known expectation of a synthetic market as one more model, on the rows of the model `like`.

    Read from `<data set>.oracle.parquet`; empty without that file.
    """
    sidecar = oracle_paths(data_path)[0]
    if not sidecar.is_file():
        return []
    oracle = read_table(sidecar)
    oracles = []
    for table in tables:
        column = f"oracle_{table['horizon'][0]}d"
        if table["model"][0] == like and column in oracle.columns:
            oracles.append(
                table.join(oracle.select(DATE, CODE, column), on=[DATE, CODE], how="left")
                .with_columns(
                    pl.lit(ORACLE).alias("model"), pl.col(column).cast(pl.Float32).alias("prediction")
                )
                .select(table.columns)
                .drop_nulls("prediction")
            )
    return oracles
