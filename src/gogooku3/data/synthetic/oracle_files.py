"""Where the files lie that tell what is known of a synthetic market's future; they are read by others."""

from pathlib import Path


def oracle_paths(path: Path | str) -> tuple[Path, Path]:
    """Where the oracle table and its summary lie beside a Parquet file.

    >>> [p.name for p in oracle_paths("data/demo.parquet")]
    ['demo.oracle.parquet', 'demo.oracle.json']
    """
    return Path(path).with_suffix(".oracle.parquet"), Path(path).with_suffix(".oracle.json")
