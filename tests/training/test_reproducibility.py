"""One seed sets every generator; versions and hardware checks."""

import random

import numpy as np
import pytest
import torch

from gogooku3.errors import ConfigError
from gogooku3.training.reproducibility import (
    bfloat16_runs_fast,
    require_accelerator,
    seed_everything,
    versions,
)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(1))


def test_one_seed_sets_every_generator() -> None:
    seed_everything(7)
    first = draws()
    assert all(a != b for a, b in zip(first, draws(), strict=True))
    seed_everything(7)
    assert draws() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(first, draws(), strict=True))


def test_versions_name_the_libraries_that_affect_results() -> None:
    found = versions()
    assert {"python", "platform", "torch", "lightning", "polars", "numpy", "lightgbm"} <= set(found)
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(found.values())


def test_cpu_flags_decide_whether_bfloat16_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins
    import io

    for flags, expected in (("fma avx512_bf16", True), ("amx_bf16", True), ("avx2", False)):
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", lambda *_, flags=flags, **__: io.StringIO(f"flags : {flags}\n"))
            assert bfloat16_runs_fast("cpu") is expected

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(builtins, "open", absent)
    assert bfloat16_runs_fast("cpu") is False


def test_missing_hardware_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("gpu", "mps"):
        with pytest.raises(ConfigError, match=f"training.accelerator is {name}, .* set it to auto or cpu"):
            require_accelerator(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name in ("auto", "cpu", "gpu"):
        require_accelerator(name)
