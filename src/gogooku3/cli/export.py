"""`gogooku3 export`: writes a trained network for other programs."""

from pathlib import Path
from typing import Annotated

from typer import Option

from gogooku3.cli.options import RunFolder
from gogooku3.cli.output import show


def export(
    run: RunFolder,
    format: Annotated[str, Option(metavar="onnx|torch", help="File format.")],
    out: Annotated[Path, Option(metavar="FILE", help="File to write: .onnx, or .pt2 for torch.")],
    fold: Annotated[int | None, Option(help="Fold of the network; the newest by default.")] = None,
    seed: Annotated[int | None, Option(help="Seed of the network; the last by default.")] = None,
) -> None:
    """Export one trained network as ONNX or as a PyTorch program, with the metadata to serve it.

    The file accepts any number of stocks; its metadata holds the features, their normalisation and the
    graph's rules. It is written only if its predictions match the network's on days with different numbers
    of stocks. LightGBM and averages over seeds are not exported.

    Example: `gogooku3 export --run runs/train/20250101-090000 --format onnx --out network.onnx`
    """
    from gogooku3.inference.export import TEST_SIZES, export_network
    from gogooku3.inference.saved_fold import SavedFold

    saved = SavedFold.open(run, fold)
    exported = export_network(saved, format, out, seed)
    others = [name for name in saved.networks if name != exported.network]
    omitted = f"; not in it: {', '.join(others)}" if others else ""
    show(
        f"{out}: fold {saved.number}, {exported.network}{omitted}; differs from PyTorch by at most "
        f"{exported.difference:.1e} on days of {', '.join(map(str, TEST_SIZES))} stocks"
    )
