"""LightGBM comes to a command without the packages that only its other interfaces need."""

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
