"""The command line, one file a command. Rooms below are imported inside them, so that `--help` is quick."""
