"""Correlations to edges, one as-of graph per month.

Never uses returns after the first day of the month it serves.
"""
