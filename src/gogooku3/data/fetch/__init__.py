"""Downloads raw data from an exchange or vendor, and derives when each value became known."""
