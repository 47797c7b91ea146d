"""Qlib's way from a frame to samplers of windows, by the recipe of its GATs on Alpha158.

Run by `data_path.py` with an interpreter that has pyqlib; imports nothing of ours. Prints JSON: seconds from
the frame on (robust z-score fitted on the training days, missing filled, labels ranked by day, samplers of
60-day windows for training and validation). The frame is 632 stocks x 959 days of 139 features and 4 labels.

    python benchmarks/peer_qlib_data_path.py [--tiny]
"""

import argparse
import json
import logging
import time
import warnings

STOCKS, DAYS, FEATURES, LABELS, STEPS = 632, 959, 139, 4, 60


def data_path(stocks: int, days: int) -> dict[str, float]:
    """Wall and processor seconds, and the samples at the end."""
    import numpy as np
    import pandas as pd
    from qlib.data.dataset import TSDatasetH
    from qlib.data.dataset.handler import DataHandlerLP
    from qlib.data.dataset.loader import StaticDataLoader
    from qlib.data.dataset.processor import CSRankNorm, DropnaLabel, Fillna, RobustZScoreNorm

    dates = pd.bdate_range("2021-01-04", periods=days)
    names = [f"S{stock:04}" for stock in range(stocks)]
    index = pd.MultiIndex.from_product([dates, names], names=["datetime", "instrument"])
    columns = pd.MultiIndex.from_tuples(
        [("feature", f"F{n:03}") for n in range(FEATURES)] + [("label", f"LABEL{n}") for n in range(LABELS)]
    )
    values = np.random.default_rng(7).standard_normal((len(index), len(columns)), dtype=np.float32)
    frame = pd.DataFrame(values, index=index, columns=columns, copy=False)
    last = int(days * 0.7)
    wall, processor = time.perf_counter(), time.process_time()
    handler = DataHandlerLP(
        data_loader=StaticDataLoader(frame),
        infer_processors=[
            RobustZScoreNorm(dates[0], dates[last], fields_group="feature"),
            Fillna(fields_group="feature"),
        ],
        learn_processors=[DropnaLabel(), CSRankNorm(fields_group="label")],
    )
    segments = {"train": (dates[0], dates[last]), "valid": (dates[last + 1], dates[-1])}
    dataset = TSDatasetH(step_len=STEPS, handler=handler, segments=segments)
    samplers = [
        dataset.prepare(name, col_set=["feature", "label"], data_key=DataHandlerLP.DK_L) for name in segments
    ]
    return {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "samples": sum(map(len, samplers)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="40 stocks, 200 days")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps(data_path(40, 200) if given.tiny else data_path(STOCKS, DAYS)))
