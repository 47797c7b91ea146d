"""`python -m gogooku3` is the command `gogooku3`."""

from gogooku3.cli.main import main

if __name__ == "__main__":
    main()
