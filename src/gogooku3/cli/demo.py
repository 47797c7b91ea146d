"""`gogooku3 demo`: the whole way, from no data to a report."""

from typing import Annotated

import typer

from gogooku3.cli.demo_market import DEMO_DATASET, ensure_demo_dataset
from gogooku3.cli.lean import load_training
from gogooku3.cli.train import train_and_report
from gogooku3.settings import settings


def demo(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each step does.")] = False,
) -> None:
    """Make a market whose predictability is known, train both models on it, print how well they did.

    Takes a few minutes on two cores. The table sets LightGBM and the network beside the oracle, the best
    that any model could reach there. The market and its data set stay in data/demo for the next time.

    Example: `gogooku3 demo`
    """
    from gogooku3.config import load_config

    dataset = ensure_demo_dataset(settings.data_dir / DEMO_DATASET.relative_to("data"), load_training)
    config = load_config(
        "model/atft/quickstart", values={"dataset.data_path": dataset}, configs_dir=settings.configs_dir
    )
    train_and_report(config, experiment="demo", verbose=verbose)
