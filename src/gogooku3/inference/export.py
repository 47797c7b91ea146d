"""Exports one trained network to a file that runs without this package: ONNX, or PyTorch's exported program.

The file is tested against the network before it is written. Neither LightGBM nor the average of several seeds
is exported.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gogooku3._version import __version__
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.atomic import atomic_path
from gogooku3.inference.one_day_module import OneDayNetwork
from gogooku3.inference.prepare_days import DayInputs
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.schema import MONTH_DAYS

TOLERANCE = 1e-5
"""Largest accepted difference from PyTorch, in units of a prediction."""
TEST_SIZES = {2: 0, 9: 7, 33: 22}
"""Numbers of stocks with which a file is tested, and the `day_of_month` of each test."""
METADATA = "gogooku3"
"""Key of the metadata in an ONNX file; with `.json`, the extra file of a PyTorch one."""
OPSET = 20

MEANING = {
    "features": "standardised by day, missing as 0; the steps are trading days, the first of the predicted "
    "day's calendar month at position sequence_length; steps after the predicted day may hold anything",
    "traded": "whether the stock traded on the day of the step; false before the data begin",
    "day_of_month": "trading days of the calendar month before the predicted day, 0 for the first",
    "ranks": "rank of each standardised feature among all stocks of the predicted day, divided by the number "
    "of stocks - 1: 0 is the smallest, 1 the largest; ties share the average, a single stock has 1/2; "
    "rounded to multiples of 1/255",
}
"""Description in the metadata of the inputs that the settings in the metadata don't determine."""

Arrays = Mapping[str, np.ndarray]


class Format(NamedTuple):
    """A file format: its suffix and packages, and functions from program and metadata to bytes and back."""

    suffix: str
    packages: tuple[str, ...]
    write: Callable[[Any, str], bytes]
    read: Callable[[bytes], Callable[[Arrays], np.ndarray]]


class Export(NamedTuple):
    """The exported network, such as `seed 0`, and its largest difference from PyTorch over all tests."""

    network: str
    difference: float


def export_network(fold: SavedFold, kind: str, out: Path, seed: int | None = None) -> Export:
    """Write one network of a fold, tested on random days of several numbers of stocks and steps.

    Args:
        kind: a name of `FORMATS`.
        out: the file, written whole or not at all.
        seed: of the network; None takes the last, as `ATFTGATFANModel.from_pretrained` does.

    Raises:
        ConfigError: no such format or seed, a file name of another format, or a missing package.
        DataError: the file can't be written, or its predictions differ from the network's.
    """
    if kind not in FORMATS:
        raise ConfigError(f"the format is {kind!r}; it must be one of {choices(FORMATS)}")
    form = FORMATS[kind]
    if out.suffix.lower() != form.suffix:
        raise ConfigError(f"the file is {out}; for the format {kind} its name must end in {form.suffix}")
    if out.is_dir():
        raise DataError(f"{out} is a folder; name a file")
    if missing := [package for package in form.packages if find_spec(package) is None]:
        raise ConfigError(
            f"the format {kind} needs {choices(missing)}, not installed here; pip install 'gogooku3[onnx]'"
        )
    name = list(fold.networks)[-1] if seed is None else f"seed {seed}"
    if name not in fold.networks:
        raise ConfigError(
            f"fold {fold.number} has no network of seed {seed}; it has {choices(fold.networks)}; leave the "
            "seed out to take the last"
        )
    # Opened before the work, so that an unwritable path fails at once.
    with atomic_path(out) as temporary:
        network = one_day_network(fold, name)
        content = form.write(trace(network), json.dumps(describe(fold, name, network)))
        difference = largest_difference(network, form.read(content))
        if not difference <= TOLERANCE:
            raise DataError(
                f"the exported network differs from PyTorch by {difference:.2g}, more than {TOLERANCE:g}; "
                f"{out} is not written; try the other format, or other versions of torch and onnxscript"
            )
        temporary.write_bytes(content)
    return Export(name, difference)


def one_day_network(fold: SavedFold, name: str) -> OneDayNetwork:
    """A fold's network, by name, as a function of one day's arrays."""
    builder = fold.graph_builder
    network = OneDayNetwork(fold.networks[name], 0 if builder is None else builder.max_edges_per_node)
    return network.eval()


def day_inputs(prepared: DayInputs, day: int) -> dict[str, np.ndarray]:
    """Inputs of an exported network for one of the prepared days; a network may use only some of them."""
    inputs = prepared.batch(day).inputs
    assert inputs.step_mask is not None and inputs.ranks is not None and inputs.neighbours is not None
    later = prepared.sequence_length + MONTH_DAYS - inputs.x.shape[1]
    names = ("neighbours", "correlations", "is_neighbour")
    tensors = {
        "features": functional.pad(inputs.x, (0, 0, 0, later)),
        "traded": functional.pad(inputs.step_mask, (0, later)),
        "day_of_month": torch.tensor([MONTH_DAYS - 1 - later]),
        "ranks": inputs.ranks,
        **dict(zip(names, inputs.neighbours, strict=True)),
        "market": inputs.market,
    }
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items() if tensor is not None}


def describe(fold: SavedFold, name: str, network: OneDayNetwork) -> dict[str, Any]:
    """Metadata: the inputs and how to make them, and the origin of the network."""
    run = fold.folder.resolve().parent
    return {
        "run": f"{run.parent.name}/{run.name}",
        "network": name,
        "versions": {"gogooku3": __version__, "torch": torch.__version__},
        "horizons": list(fold.horizons),
        "sequence_length": fold.sequence_length,
        "inputs": {name: list(shape) for name, shape in network.input_shapes.items()},
        "meaning": MEANING,
        "outputs": {"predictions": ["stocks", len(fold.horizons)]},
        **{key: value for key, value in fold.state.items() if key != "model"},
    }


def trace(network: OneDayNetwork) -> Any:
    """PyTorch's exported program of the network, for two or more stocks."""
    stocks = torch.export.Dim("stocks", min=2)
    dynamic = {
        name: {0: stocks} if shape[0] == "stocks" else None for name, shape in network.input_shapes.items()
    }
    example = network.random_inputs(7, 5, torch.Generator().manual_seed(0))
    with torch.no_grad(), _quiet():
        return torch.export.export(network, (), example, dynamic_shapes=dynamic, strict=False)


def largest_difference(network: OneDayNetwork, exported: Callable[[Arrays], np.ndarray]) -> float:
    """Largest difference between network and file on random days of each size in `TEST_SIZES`.

    NaN where a prediction is not finite.
    """
    generator = torch.Generator().manual_seed(1)
    differences = []
    for stocks, day_of_month in TEST_SIZES.items():
        inputs = network.random_inputs(stocks, day_of_month, generator)
        with torch.inference_mode():
            expected = network(**inputs).numpy()
        predicted = exported({name: tensor.numpy() for name, tensor in inputs.items()})
        differences.append(np.abs(predicted - expected).max())
    return float(np.max(differences))


def _write_onnx(program: Any, metadata: str) -> bytes:
    with _quiet():
        onnx_program = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, output_names=["predictions"], verbose=False
        )
    assert onnx_program is not None
    onnx_program.model.metadata_props[METADATA] = metadata
    content: bytes = onnx_program.model_proto.SerializeToString()
    return content


def _read_onnx(content: bytes) -> Callable[[Arrays], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["predictions"], dict(inputs))[0]


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
            predictions: Tensor = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return predictions.numpy()

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PyTorch's warnings about its own internals; the file is tested afterwards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _read_onnx),
    "torch": Format(".pt2", (), _write_torch, _read_torch),
}
