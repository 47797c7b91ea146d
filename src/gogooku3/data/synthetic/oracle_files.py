"""Paths of the files that hold the known expectation of a synthetic market."""

from pathlib import Path


def oracle_paths(path: Path | str) -> tuple[Path, Path]:
    """Paths of the oracle table and its summary, next to a Parquet file or a folder.

    >>> [p.name for p in oracle_paths("data/demo.parquet")]
    ['demo.oracle.parquet', 'demo.oracle.json']
    >>> [p.name for p in oracle_paths("data/jp.2024")]
    ['jp.2024.oracle.parquet', 'jp.2024.oracle.json']
    """
    market = Path(path)
    name = market.stem if market.suffix[1:].isalpha() else market.name
    return market.parent / f"{name}.oracle.parquet", market.parent / f"{name}.oracle.json"
