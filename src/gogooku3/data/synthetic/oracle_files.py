"""Names of the files with the oracle of a synthetic market; also read by rooms that never simulate."""

from pathlib import Path


def oracle_paths(path: Path | str) -> tuple[Path, Path]:
    """Paths of the oracle table and its summary for a Parquet file.

    >>> [p.name for p in oracle_paths("data/demo.parquet")]
    ['demo.oracle.parquet', 'demo.oracle.json']
    """
    return Path(path).with_suffix(".oracle.parquet"), Path(path).with_suffix(".oracle.json")
