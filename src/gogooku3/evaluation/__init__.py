"""Scores of prediction tables: IC, portfolios, significance. Imports no model and draws no chart."""
