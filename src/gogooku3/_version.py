"""The version, imported by files that must not import the package's front door."""

__version__ = "0.4.0"
