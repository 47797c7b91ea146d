"""Checks of `data validate`, one subject per file; `check_list` describes each check."""
