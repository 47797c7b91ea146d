"""Reads what a run's models look at from its folder, and the sectors for the pictures of it."""

import re
from pathlib import Path

import polars as pl

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.parsing import read_keys
from gogooku3.errors import DataError
from gogooku3.files.tables import collect, read_table, scan_table
from gogooku3.models.lightgbm_forecaster import IMPORTANCE
from gogooku3.runs.folder import GRAPHS
from gogooku3.schema import CODE, DATE, SECTOR, map_columns
from gogooku3.training.network_forecaster import EXPLANATIONS

_FOLD = re.compile(r"fold_(\d+)")


def read_explanations(run_dir: Path, network: str, baseline: str) -> dict[str, pl.DataFrame]:
    """The explanation tables of a run, all folds together, with a column `fold`. Missing tables are left out.

    `features` also has a column `model`: the network's shares of contribution and LightGBM's shares of gain.
    `graphs` is the run's graph schedule.

    Args:
        run_dir: the run's folder.
        network: name of the network in the prediction table.
        baseline: name of LightGBM there.
    """
    tables: dict[str, list[pl.DataFrame]] = {}
    # Other names, such as a copy fold_0.bak, are not folds.
    folders = {int(match[1]): path for path in run_dir.iterdir() if (match := _FOLD.fullmatch(path.name))}
    for number, folder in sorted(folders.items()):
        fold = pl.lit(number, pl.Int32).alias("fold")
        # Of several seeds, only the last one is explained.
        for path in sorted((folder / network).rglob(f"{EXPLANATIONS}/*.parquet")):
            table = read_table(path)
            if path.stem == "features":
                table = table.select(pl.lit(network).alias("model"), pl.all())
            tables.setdefault(path.stem, []).append(table.select(fold, pl.all()))
        gains = folder / baseline / IMPORTANCE
        if gains.is_file():
            table = read_table(gains).select(fold, pl.lit(baseline).alias("model"), pl.all())
            tables.setdefault("features", []).append(table)
    try:
        joined = {name: pl.concat(parts, how="vertical_relaxed") for name, parts in tables.items()}
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the explanations in {run_dir} do not fit together ({reason}); copy the run again"
        ) from None
    graphs = run_dir / GRAPHS
    return joined | ({"graphs": read_table(graphs)} if graphs.is_file() else {})


def read_sectors(dataset: ProductionDatasetV3) -> dict[str, str]:
    """Sector by code, the last one known, where the data set's file has a column of sectors.

    For pictures only: it is the newest classification, which an earlier day did not know.
    """
    found = {canonical: name for name, canonical in map_columns(dataset.columns.ignored, (SECTOR,)).items()}
    if SECTOR not in found:
        return {}
    keys = {canonical: name for name, canonical in dataset.columns.keys.items()}
    wanted = {DATE: keys[DATE], CODE: keys[CODE], SECTOR: found[SECTOR]}
    scan = scan_table(dataset.data_path, typed=True).select(
        pl.col(it).alias(name) for name, it in wanted.items()
    )
    rows = collect(scan, dataset.data_path)
    rows = rows.with_columns(read_keys(rows, dataset.data_path.name)).drop_nulls()
    last = rows.group_by(CODE).agg(pl.col(SECTOR).cast(pl.String).sort_by(DATE).last())
    return dict(last.iter_rows())
