"""`gogooku3 data synth`: prices of a market whose predictability is planted and known."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from gogooku3.cli.output import print_table, say
from gogooku3.errors import ConfigError, choices
from gogooku3.files.atomic import check_output
from gogooku3.settings import settings


def synth(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Prices to write, as .parquet.")],
    preset: Annotated[
        str,
        typer.Option(
            help="demo: 120 stocks x 500 days; reference: 606,127 rows, about 632 stocks x 959 days."
        ),
    ] = "demo",
    stocks: Annotated[int | None, typer.Option(help="Stocks ever listed, instead of the preset's.")] = None,
    days: Annotated[int | None, typer.Option(help="Trading days, instead of the preset's.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Start of every random number; same seed, same bits.")
    ] = None,
) -> None:
    """Make daily prices of an invented, Tokyo-like exchange, and write the best reachable IC beside them.

    Writes FILE, and beside it .oracle.parquet (the true expectations) and .oracle.json (what was planted).
    The oracle IC printed is the ceiling: a model clearly above it has seen the future.

    Example: `gogooku3 data synth --preset demo --seed 1 --out data/demo/prices.parquet`
    """
    from gogooku3.data.synthetic.market import PRESETS, generate_market, write_market

    if preset not in PRESETS:
        raise ConfigError(f"--preset is '{preset}', but the presets are {choices(PRESETS)}; choose one")
    check_output(out, ".parquet")
    changes: dict[str, Any] = {"n_stocks": stocks, "n_days": days, "seed": seed}
    changes = {name: value for name, value in changes.items() if value is not None}
    if changes.keys() & {"n_stocks", "n_days"}:
        # The preset's exact number of rows belongs to the preset's size.
        changes["exact_rows"] = None
    config = dataclasses.replace(PRESETS[preset], **changes)
    say(f"making {config.n_stocks} stocks x {config.n_days} days, seed {config.seed}")
    market = generate_market(config)
    prices, oracle, summary = write_market(market, out)
    overall, by_kind = market.summary["oracle_ic"], market.summary["oracle_ic_by_kind"]
    print_table(
        "Oracle IC, the best reachable",
        ["planted", *overall],
        [
            ["all together", *(f"{ic:.3f}" for ic in overall.values())],
            *(
                [kind.replace("_", "-"), *(f"{ic:.3f}" for ic in ics.values())]
                for kind, ics in by_kind.items()
            ),
        ],
    )
    typer.echo(f"{market.prices.height:,} rows: {prices}\noracle: {oracle}, {summary}")
    # The default data set of `train`, and not the prices' folder: that may be built as a whole some day.
    dataset = settings.data_dir / "raw/large_scale/ml_dataset_full.parquet"
    say(f"next: gogooku3 data build --prices {prices} --out {dataset}")
