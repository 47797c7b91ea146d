"""Atomic writes, locks, tables and fingerprints, independent of stocks, models and runs."""
