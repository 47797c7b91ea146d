"""Correlations to edges, one graph per month, built only from returns before that month."""
