"""The look-ahead audit: change data that a pipeline must not use, and compare its outputs."""
