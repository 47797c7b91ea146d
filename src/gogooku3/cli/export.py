"""`gogooku3 export`: a trained network as a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a run that `gogooku3 train` wrote.")],
    format: Annotated[str, typer.Option(metavar="onnx|torch", help="Kind of file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file: .onnx, or .pt2 for torch.")],
    fold: Annotated[int | None, typer.Option(help="Fold of the network; the newest by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Its seed, of several; the last by default.")] = None,
) -> None:
    """Write a trained network as ONNX or as PyTorch's exported program, with what serving it needs.

    The file takes any number of stocks, and holds the features, their normalisation and the graph's rules as
    metadata. It is tried against the network itself on days of several numbers of stocks, and not written
    if it differs. It is one network: neither LightGBM nor the average of several seeds.

    Example: `gogooku3 export --run runs/train/20250101-090000 --format onnx --out network.onnx`
    """
    from gogooku3.inference.export import TEST_SIZES, export_network
    from gogooku3.inference.saved_fold import SavedFold

    saved = SavedFold.open(run, fold)
    done = export_network(saved, format, out, seed)
    others = [name for name in saved.networks if name != done.network]
    beside = f"; not in it: {', '.join(others)}" if others else ""
    typer.echo(
        f"{out}: fold {saved.number}, {done.network}{beside}; differs from PyTorch by at most "
        f"{done.difference:.1e} on days of {', '.join(map(str, TEST_SIZES))} stocks"
    )
