"""`gogooku3 data describe`: contents of a file or folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from gogooku3.cli.options import AsJson
from gogooku3.cli.output import print_json, print_left_out, print_table, show
from gogooku3.errors import DataError

if TYPE_CHECKING:
    from gogooku3.data.fetch.raw_contents import RawContents
    from gogooku3.features.describe import ColumnFamily, TableDescription, TargetSpread

NAMED = 3
"""Holes and columns listed; --json has them all."""


def describe(
    path: Annotated[
        Path,
        Argument(metavar="FILE_OR_FOLDER", help="Data set, prices, predictions or a fetch's raw folder."),
    ],
    as_json: AsJson = False,
) -> None:
    """Print rows, days, stocks, size, columns by family and targets; of a fetch, days and holes.

    Example: `gogooku3 data describe data/mine.parquet`
    """
    from gogooku3.data.fetch.raw_contents import is_raw_store, raw_contents
    from gogooku3.data.fetch.store import RawStore
    from gogooku3.data.price_files import left_out
    from gogooku3.features.describe import describe_table

    if is_raw_store(path):
        held = raw_contents(RawStore(path))
        if as_json:
            print_json({"path": path, "kind": "raw folder", "datasets": [asdict(one) for one in held]})
        else:
            _print_store(path, held)
        return
    if (path / "manifest.json").is_file():
        raise DataError(
            f"{path} is the folder of a run; name its {path / 'predictions.parquet'}, or see `gogooku3 runs`"
        )
    description = describe_table(path)
    if as_json:
        show(json.dumps(description.to_dict(), indent=2, ensure_ascii=False))
    else:
        _print_table(description)
        if description.kind == "prices":
            print_left_out(left_out(path))


def _print_store(path: Path, held: "list[RawContents]") -> None:
    rows = []
    for one in held:
        counts = [f"{count:,}" for count in (one.files, len(one.open), one.rows)]
        rows.append([one.name, f"{one.first} to {one.last}", _holes(one), *counts, _size(one.bytes)])
    total = _size(sum(one.bytes for one in held))
    columns = ["data set", "from, to", "holes", "files", "still open", "rows", "size"]
    print_table(f"{path}: raw folder, {total}", columns, rows, text=3, wrapped=("holes",))
    if (path / "prices.parquet").is_file():
        show(f"its prices: gogooku3 data describe {path / 'prices.parquet'}")


def _holes(one: "RawContents") -> str:
    if one.holes is None:
        return "unknown without a calendar"
    if not one.holes:
        return "none"
    more = ", ..." if len(one.holes) > NAMED else ""
    return f"{len(one.holes):,}: {', '.join(one.holes[:NAMED])}{more}"


def _print_table(table: "TableDescription") -> None:
    show(f"{table.path}: {table.kind}")
    span = f", {table.first_date} to {table.last_date}" if table.first_date else ""
    ended = table.n_stocks - table.n_alive
    facts = {
        "rows": f"{table.rows:,}",
        "days": f"{table.n_days:,}{span}",
        "stocks": f"{table.n_stocks:,}: {table.n_alive:,} alive at the end, {ended:,} ended before",
        "models": ", ".join(table.models),
        "on disk": f"{_size(table.bytes)}, {table.files:,} file{'s' if table.files > 1 else ''}",
        "fingerprint": table.fingerprint,
    }
    if table.built:
        source = ", ".join((table.built["source"] or [])[:NAMED])
        facts["built by"] = f"gogooku3 {table.built['version']} from {source}"
        facts["prices"] = f"fingerprint {table.built['fingerprint']}"
    for name, value in facts.items():
        if value:
            show(f"  {name:<16}  {value}")
    if table.warning:
        show(f"warning: {table.warning}")
    if table.families:
        columns = ["family", "most often missing", "columns", "lookback", "missing"]
        show()
        print_table("Columns by family", columns, list(map(_family_row, table.families)), text=2)
    if table.targets:
        columns = ["target", "missing", "mean", "std", "1%", "99%"]
        reasons = ["delisted", "halted", "beyond data"] if table.labels else []
        rows = [
            _target_row(target) + [f"{count:,}" for count in table.labels.get(target.horizon, {}).values()]
            for target in table.targets
        ]
        show()
        print_table("Targets", columns + reasons, rows)


def _family_row(family: "ColumnFamily") -> list[str]:
    name, share = max(family.columns.items(), key=lambda column: column[1])
    worst = f"{name} {share:.1%}" if share else "-"
    lookback = " to ".join(map(str, dict.fromkeys(family.lookback or ()))) or "-"
    return [family.name, worst, f"{len(family.columns):,}", lookback, f"{family.missing:.1%}"]


def _target_row(target: "TargetSpread") -> list[str]:
    numbers = (target.mean, target.std, target.low, target.high)
    spelled = ["-" if number is None else f"{number:+.4f}" for number in numbers]
    return [target.horizon, f"{target.missing:.1%}", *spelled]


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
