"""Libraries come to a command without what they would load for others."""

import subprocess
import sys

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
