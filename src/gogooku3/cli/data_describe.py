"""`gogooku3 data describe`: what a file or folder holds."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gogooku3.cli.output import print_table
from gogooku3.errors import DataError

if TYPE_CHECKING:
    from gogooku3.data.fetch.raw_contents import RawContents
    from gogooku3.features.describe import ColumnFamily, TableDescription, TargetSpread

NAMED = 3
"""Holes and columns named; --json has them all."""


def describe(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER", help="Data set, prices or predictions; or the raw folder of a fetch."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Say what is there: rows, days, stocks, size, columns by family, targets; of a fetch, days and holes.

    A data set of gigabytes takes a second or two, because a Parquet file's footer tells most of it.

    Example: `gogooku3 data describe data/mine.parquet`
    """
    from gogooku3.data.fetch.raw_contents import is_raw_store, raw_contents
    from gogooku3.data.fetch.store import RawStore
    from gogooku3.features.describe import describe_table

    if is_raw_store(path):
        held = raw_contents(RawStore(path))
        if as_json:
            contents = {"path": str(path), "kind": "raw folder", "datasets": [asdict(one) for one in held]}
            typer.echo(json.dumps(contents, indent=2))
        else:
            _print_store(path, held)
        return
    if (path / "manifest.json").is_file():
        raise DataError(
            f"{path} is a run's folder; name its {path / 'predictions.parquet'}, or see `gogooku3 runs`"
        )
    found = describe_table(path)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_table(found)


def _print_store(path: Path, held: "list[RawContents]") -> None:
    rows = [
        [
            one.name,
            f"{one.first} to {one.last}",
            _holes(one),
            f"{one.files:,}",
            f"{len(one.open):,}",
            f"{one.rows:,}",
            _size(one.bytes),
        ]
        for one in held
    ]
    total = _size(sum(one.bytes for one in held))
    columns = ["data set", "from, to", "holes", "files", "still open", "rows", "size"]
    print_table(f"{path}: raw folder, {total}", columns, rows, text=3, wrapped=("holes",))
    if (path / "prices.parquet").is_file():
        typer.echo(f"its prices: gogooku3 data describe {path / 'prices.parquet'}")


def _holes(one: "RawContents") -> str:
    if one.holes is None:
        return "no calendar to tell"
    if not one.holes:
        return "none"
    more = ", ..." if len(one.holes) > NAMED else ""
    return f"{len(one.holes):,}: {', '.join(one.holes[:NAMED])}{more}"


def _print_table(found: "TableDescription") -> None:
    typer.echo(f"{found.path}: {found.kind}")
    span = f", {found.first_date} to {found.last_date}" if found.first_date else ""
    ended = found.n_stocks - found.n_alive
    facts = {
        "rows": f"{found.rows:,}",
        "days": f"{found.n_days:,}{span}",
        "stocks": f"{found.n_stocks:,}: {found.n_alive:,} alive at the end, {ended:,} ended before",
        "models": ", ".join(found.models),
        "on disk": _on_disk(found),
        "fingerprint": found.fingerprint,
        "written by": found.written_by,
    }
    if found.built:
        source = ", ".join((found.built["source"] or [])[:NAMED])
        facts["built by"] = f"gogooku3 {found.built['version']} from {source}"
        facts["SHA-256 of those"] = found.built["fingerprint"]
    for name, value in facts.items():
        if value:
            typer.echo(f"  {name:<16}  {value}")
    if found.families:
        columns = ["family", "most often missing", "columns", "lookback", "missing"]
        typer.echo()
        print_table("Columns by family", columns, list(map(_family_row, found.families)), text=2)
    if found.targets:
        columns = ["target", "missing", "mean", "std", "1%", "99%"]
        typer.echo()
        print_table("Targets", columns, list(map(_target_row, found.targets)))


def _on_disk(found: "TableDescription") -> str:
    files = f"{found.files:,} file{'s' if found.files > 1 else ''}"
    if not found.row_groups:
        return f"{_size(found.bytes)}, {files}"
    groups = f"{found.row_groups:,} row group{'s' if found.row_groups > 1 else ''}"
    codecs = ", ".join(found.compression)
    return f"{_size(found.bytes)}, {files}, {codecs}, {groups} of up to {found.largest_row_group:,} rows"


def _family_row(family: "ColumnFamily") -> list[str]:
    name, share = max(family.columns.items(), key=lambda column: column[1])
    worst = f"{name} {share:.1%}" if share else "-"
    lookback = "-"
    if family.lookback:
        short, long = family.lookback
        lookback = f"{short}" if short == long else f"{short} to {long}"
    return [family.name, worst, f"{len(family.columns):,}", lookback, f"{family.missing:.1%}"]


def _target_row(target: "TargetSpread") -> list[str]:
    figures = (target.mean, target.std, target.low, target.high)
    return [
        target.horizon,
        f"{target.missing:.1%}",
        *("-" if figure is None else f"{figure:+.4f}" for figure in figures),
    ]


def _size(count: float) -> str:
    """Bytes in the largest unit that leaves 1 or more.

    >>> _size(999), _size(1_234_567), _size(0)
    ('999 B', '1.2 MB', '0 B')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.2f} GB"
