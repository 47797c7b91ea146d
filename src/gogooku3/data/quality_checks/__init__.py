"""What `data validate` looks for, an idea a file; `catalog` says what each means and what becomes of it."""
