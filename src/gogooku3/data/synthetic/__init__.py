"""The embedded market: simulated prices with planted, known signals. Never used on real data."""
