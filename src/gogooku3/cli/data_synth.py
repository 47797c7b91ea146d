"""`gogooku3 data synth`: prices of a synthetic market with planted, known predictability."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from gogooku3.cli.output import print_table, say, show
from gogooku3.errors import ConfigError, choices
from gogooku3.files.atomic import check_output
from gogooku3.settings import settings


def synth(
    out: Annotated[Path, Option(metavar="FILE", help="Prices to write, as .parquet.")],
    preset: Annotated[
        str, Option(help="demo: 120 stocks x 500 days; reference: 606,127 rows, about 632 stocks x 959 days.")
    ] = "demo",
    stocks: Annotated[int | None, Option(help="Stocks ever listed, instead of the preset's.")] = None,
    days: Annotated[int | None, Option(help="Trading days, instead of the preset's.")] = None,
    seed: Annotated[int | None, Option(help="Random seed; equal seeds give bit-identical markets.")] = None,
) -> None:
    """Generate daily prices of a fictitious, Tokyo-like exchange, and print the best reachable IC.

    Writes FILE and, in the same folder, .oracle.parquet (the true expected returns) and .oracle.json (the
    planted signals). The printed oracle IC is an upper bound: a model clearly above it has seen the future.

    Example: `gogooku3 data synth --preset demo --seed 1 --out data/demo/prices.parquet`
    """
    from gogooku3.data.synthetic.market import PRESETS, generate_market, write_market

    if preset not in PRESETS:
        raise ConfigError(f"--preset is '{preset}', but the presets are {choices(PRESETS)}; choose one")
    check_output(out, ".parquet")
    options = {"n_stocks": stocks, "n_days": days, "seed": seed}
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if changes.keys() & {"n_stocks", "n_days"}:
        # The preset's exact number of rows is only reachable with the preset's size.
        changes["exact_rows"] = None
    config = dataclasses.replace(PRESETS[preset], **changes)
    say(f"generating {config.n_stocks} stocks x {config.n_days} days, seed {config.seed}")
    market = generate_market(config)
    prices, oracle, summary = write_market(market, out)
    overall, by_kind = market.summary["oracle_ic"], market.summary["oracle_ic_by_kind"]
    named = {"all together": overall} | {kind.replace("_", "-"): ics for kind, ics in by_kind.items()}
    rows = [[name, *(f"{ic:.3f}" for ic in ics.values())] for name, ics in named.items()]
    print_table("Oracle IC, the best reachable", ["planted", *overall], rows)
    show(f"{market.prices.height:,} rows: {prices}\noracle: {oracle}, {summary}")
    # Suggest the default data set of `train`; the prices' folder may be built as a whole later.
    dataset = settings.data_dir / "raw/large_scale/ml_dataset_full.parquet"
    say(f"next: gogooku3 data build --prices {prices} --out {dataset}")
