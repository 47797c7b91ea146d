"""Same in, same out: one seed sets every generator, and a manifest records the versions."""

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
    """Versions of what decides the bits of a run."""
    found = {
        "gogooku3": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def use_threads(count: int | None) -> int:
    """Set the number of torch's CPU threads, and return what is in force; None leaves it.

    How a sum is cut among threads decides its last bits, so a network's weights depend on the number.
    """
    if count is not None:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def bfloat16_runs_fast(accelerator: str = "cpu") -> bool:
    """Whether the hardware multiplies bfloat16 natively, so that mixed precision pays."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported()
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as info:
            flags = info.read()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def require_accelerator(name: str) -> None:
    """Refuse hardware that isn't there, before anything is trained.

    Raises:
        ConfigError: `training.accelerator` names it.
    """
    mps = torch.backends.mps.is_available()
    there = {"gpu": mps or torch.cuda.is_available(), "mps": mps}
    if not there.get(name, True):
        raise ConfigError(
            f"training.accelerator is {name}, but torch {torch.__version__} sees none; set it to auto or "
            "cpu, or install a torch that is built for it"
        )
