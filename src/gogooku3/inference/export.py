"""A trained network as one file that runs without us: ONNX, or PyTorch's exported program.

The file is tried against the network before it is written. LightGBM, and the averaging of seeds, stay behind.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gogooku3._version import __version__
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import atomic_path
from gogooku3.inference.one_day_module import OneDayNetwork
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.training.batches import Batch

TOLERANCE = 1e-5
"""Largest difference from PyTorch, in units of a prediction, that a file may show."""
TRIED = (2, 9, 33)
"""Numbers of stocks that a file is tried with."""
METADATA = "gogooku3"
"""Key of the metadata in an ONNX file; with `.json`, the extra file of a PyTorch one."""
OPSET = 20

Arrays = Mapping[str, np.ndarray]


class Format(NamedTuple):
    """How a kind of file is made of a traced program and metadata, and read back to be run."""

    suffix: str
    needs: tuple[str, ...]
    write: Callable[[Any, str], bytes]
    read: Callable[[bytes], Callable[[Arrays], np.ndarray]]


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        network: name of the network, such as `seed 0`.
        difference: largest difference from PyTorch over all that was tried.
    """

    network: str
    difference: float


def export_network(fold: SavedFold, kind: str, out: Path, seed: int | None = None) -> Export:
    """Write one network of a fold, tried on random days of several numbers of stocks.

    Args:
        fold: the saved fold.
        kind: a name of `FORMATS`.
        out: the file, which appears whole or not at all.
        seed: of the network; None takes the last, as `ATFTGATFANModel.from_pretrained` does.

    Raises:
        ConfigError: no such format or seed, a name that does not fit, or a package is missing.
        DataError: the file can't be written, or does not predict what the network does.
    """
    form = _format(kind, out)
    name = list(fold.networks)[-1] if seed is None else f"seed {seed}"
    if name not in fold.networks:
        raise ConfigError(
            f"fold {fold.number} has no network of seed {seed}; it has {choices(fold.networks)}; leave the "
            "seed out to take the last"
        )
    # Before the work, so that a place that can't be written to is told at once.
    with atomic_path(out) as temporary:
        network = one_day(fold, name)
        content = form.write(trace(network), json.dumps(describe(fold, name, network)))
        difference = largest_difference(network, form.read(content))
        if not difference <= TOLERANCE:
            raise DataError(
                f"the exported network differs from PyTorch by {difference:.2g}, more than {TOLERANCE:g}; "
                f"{out} is not written; try the other format, or other versions of torch and onnxscript"
            )
        temporary.write_bytes(content)
    return Export(name, difference)


def one_day(fold: SavedFold, name: str) -> OneDayNetwork:
    """A fold's network by name, as a function of a day's arrays."""
    builder = fold.graph_builder
    network = OneDayNetwork(fold.networks[name], 0 if builder is None else builder.max_edges_per_node)
    return network.eval()


def day_inputs(batch: Batch) -> dict[str, np.ndarray]:
    """What an exported network reads, from a batch of one day; a network may not read all of it."""
    tensors = {
        "features": batch.x,
        "traded": batch.step_mask,
        "neighbours": batch.neighbours.index,
        "correlations": batch.neighbours.weight,
        "is_neighbour": batch.neighbours.valid,
        "market": batch.market,
    }
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}


def describe(fold: SavedFold, name: str, network: OneDayNetwork) -> dict[str, Any]:
    """The metadata: what the inputs are and how to make them, and where the network comes from."""
    run = fold.folder.resolve().parent
    state = {key: value for key, value in fold.state.items() if key != "model"}
    stocks = {key: ["stocks", *shape] for key, shape in network.input_shapes.items() if key != "market"}
    fixed = {key: list(shape) for key, shape in network.input_shapes.items() if key == "market"}
    return {
        "run": f"{run.parent.name}/{run.name}",
        "network": name,
        "versions": {"gogooku3": __version__, "torch": torch.__version__},
        "horizons": list(fold.horizons),
        "sequence_length": fold.sequence_length,
        "inputs": stocks | fixed,
        "outputs": {"predictions": ["stocks", len(fold.horizons)]},
        **state,
    }


def trace(network: OneDayNetwork) -> Any:
    """The network as PyTorch's exported program, for any number of stocks from two on."""
    stocks = torch.export.Dim("stocks", min=2)
    example = network.random_inputs(7, torch.Generator().manual_seed(0))
    dynamic = {name: None if name == "market" else {0: stocks} for name in example}
    with torch.no_grad(), _quiet():
        return torch.export.export(network, (), example, dynamic_shapes=dynamic, strict=False)


def largest_difference(network: OneDayNetwork, exported: Callable[[Arrays], np.ndarray]) -> float:
    """Largest difference between two ways to predict random days of each number of stocks in `TRIED`.

    NaN where one of them is not finite.
    """
    generator = torch.Generator().manual_seed(1)
    differences = []
    for stocks in TRIED:
        inputs = network.random_inputs(stocks, generator)
        with torch.inference_mode():
            expected = network(**inputs).numpy()
        found = exported({name: tensor.numpy() for name, tensor in inputs.items()})
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def _format(kind: str, out: Path) -> Format:
    if kind not in FORMATS:
        raise ConfigError(f"the format is {kind!r}; it must be one of {choices(FORMATS)}")
    form = FORMATS[kind]
    if out.suffix.lower() != form.suffix:
        raise ConfigError(f"the file is {out}; for the format {kind} its name must end in {form.suffix}")
    if out.is_dir():
        raise DataError(f"{out} is a folder; name a file")
    if missing := [package for package in form.needs if find_spec(package) is None]:
        raise ConfigError(
            f"the format {kind} needs {choices(missing)}, not installed here; pip install 'gogooku3[onnx]'"
        )
    return form


def _write_onnx(program: Any, metadata: str) -> bytes:
    with _quiet():
        made = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, output_names=["predictions"], verbose=False
        )
    assert made is not None
    made.model.metadata_props[METADATA] = metadata
    content: bytes = made.model_proto.SerializeToString()
    return content


def _read_onnx(content: bytes) -> Callable[[Arrays], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run(inputs: Arrays) -> np.ndarray:
        found: np.ndarray = session.run(["predictions"], dict(inputs))[0]
        return found

    return run


def _write_torch(program: Any, metadata: str) -> bytes:
    content = io.BytesIO()
    with _quiet():
        torch.export.save(program, content, extra_files={f"{METADATA}.json": metadata})
    return content.getvalue()


def _read_torch(content: bytes) -> Callable[[Arrays], np.ndarray]:
    with _quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: Arrays) -> np.ndarray:
        with torch.inference_mode():
            found: Tensor = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return found.numpy()

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's warnings about its own inside; what matters is tried afterwards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _read_onnx),
    "torch": Format(".pt2", (), _write_torch, _read_torch),
}
