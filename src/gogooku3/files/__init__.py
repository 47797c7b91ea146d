"""Writes files whole, locks folders and reads tables. Knows nothing about stocks, models or runs."""
