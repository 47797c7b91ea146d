"""`gogooku3 demo`: from no data to a report."""

from gogooku3.cli.demo_market import DEMO_DATASET, ensure_demo_dataset
from gogooku3.cli.options import Verbose
from gogooku3.cli.train import train_and_report
from gogooku3.settings import settings


def demo(verbose: Verbose = False) -> None:
    """Make a market with a known predictable part, train every model on it and print their scores.

    Takes a few minutes on two cores. The table compares the models with the oracle, the best
    score any model could reach on this market. Later calls reuse the market and its data set in data/demo.

    Example: `gogooku3 demo`
    """
    from gogooku3.config import load_config

    dataset = ensure_demo_dataset(settings.data_dir / DEMO_DATASET.relative_to("data"))
    config = load_config(
        "model/atft/quickstart", values={"dataset.data_path": dataset}, configs_dir=settings.configs_dir
    )
    train_and_report(config, experiment="demo", verbose=verbose)
