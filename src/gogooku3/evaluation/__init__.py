"""Prediction tables to numbers: IC, portfolios, significance. Never imports a model or draws a chart."""
