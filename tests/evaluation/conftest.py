from market_table import make_table, market  # noqa: F401
