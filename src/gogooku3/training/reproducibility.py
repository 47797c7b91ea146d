"""Reproducibility: seeds, threads, versions, and checks of the hardware."""

import platform
import random
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from gogooku3._version import __version__
from gogooku3.errors import ConfigError

_RECORDED = ("torch", "lightning", "polars", "numpy", "lightgbm", "hydra-core")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def versions() -> dict[str, str]:
    """Versions of the libraries that affect a run's results."""
    recorded = {"gogooku3": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _RECORDED:
        try:
            recorded[name] = version(name)
        except PackageNotFoundError:
            recorded[name] = "not installed"
    return recorded


def use_threads(count: int | None) -> int:
    """Set the number of torch's CPU threads and return it; None leaves it unchanged.

    The number affects how sums are split, so the last bits of a network's weights depend on it.
    """
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def bfloat16_runs_fast(accelerator: str = "cpu") -> bool:
    """Return True if the hardware multiplies bfloat16 natively, so that mixed precision is faster."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as info:
            flags = info.read()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def require_accelerator(name: str) -> None:
    """Check that the hardware of `training.accelerator` is available.

    Raises:
        ConfigError: it is not.
    """
    mps = torch.backends.mps.is_available()
    available = {"gpu": mps or torch.cuda.is_available(), "mps": mps}
    if not available.get(name, True):
        raise ConfigError(
            f"training.accelerator is {name}, but torch {torch.__version__} finds none; set it to auto or "
            "cpu, or install a torch that is built for it"
        )
