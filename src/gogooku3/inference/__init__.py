"""Applies a saved fold to other days: open the fold, read and prepare days, predict, rank. Never trains."""
