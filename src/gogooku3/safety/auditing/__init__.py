"""Finds out whether a pipeline looks ahead, by changing what it should not be able to see."""
