"""Brings raw data from the exchange or another source onto the disk; what it means is decided elsewhere."""
