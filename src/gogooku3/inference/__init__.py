"""Applies a saved fold to other days: predict, rank with reasons, detect drift, export. Never trains."""
