"""What `data validate` checks, one subject per file; `check_list` explains every check.

Never changes data.
"""
