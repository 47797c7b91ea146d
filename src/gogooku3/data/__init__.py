"""From prices to a checked data set to the panel. Only `targets` looks ahead."""
