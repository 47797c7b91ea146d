"""One file per command: parses options, calls the package, prints. Contains no computation."""
