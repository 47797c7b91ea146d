"""Libraries come to a command without what they would load for others."""

import gc
import subprocess
import sys

from gogooku3.cli.lean import never_garbage, quick_turns

AFTERWARDS = """
import sys
from gogooku3.cli.lean import LEFT_OUT, load_lightgbm_alone
load_lightgbm_alone()
load_lightgbm_alone()
assert not set(LEFT_OUT) & set(sys.modules), "loaded, or hidden for good"
import lightgbm, numpy
x = numpy.arange(200.0)[:, None]
data = lightgbm.Dataset(x, label=x[:, 0] > 100)
trees = lightgbm.train({"verbosity": -1, "num_threads": 1}, data, num_boost_round=5)
found = lightgbm.Booster(model_str=trees.model_to_string()).predict(x)
assert found[150:].min() > found[:50].max()
import sklearn
print("fine")
"""


def test_lightgbm_trains_and_predicts_without_what_was_left_out_and_that_can_be_loaded_later() -> None:
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


LIGHTNING = """
import sys
from gogooku3.cli.lean import load_lightning_alone
load_lightning_alone()
load_lightning_alone()
assert "lightning.pytorch" in sys.modules and "torchmetrics" in sys.modules
assert not [name for name in sys.modules if name.startswith("scipy.signal")], "loaded, or hidden for good"
import gogooku3.training.trainer
import torch, torchmetrics
found = torchmetrics.MeanMetric()
found.update(torch.tensor([1.0, 3.0]))
assert found.compute() == 2
import scipy
assert scipy.signal.windows.hamming(3).max() == 1
print("fine")
"""


def test_lightning_comes_without_scipy_signal_which_can_be_loaded_later() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHTNING], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


COLLECTED = """
import gc, sys
from gogooku3.cli.lean import load_prediction
load_prediction()
assert gc.isenabled() and gc.get_freeze_count() > 100_000, "looked for garbage"
assert {"torch", "lightgbm"} <= set(sys.modules) and "sklearn" not in sys.modules
frozen = gc.get_freeze_count()
garbage = []
garbage.append(garbage)
del garbage
assert gc.collect() and gc.get_freeze_count() == frozen
print("fine")
"""


def test_what_predicts_is_loaded_without_looking_for_garbage_which_is_looked_for_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with never_garbage():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()


def test_threads_take_turns_as_before_afterwards() -> None:
    before = sys.getswitchinterval()
    with quick_turns():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before
