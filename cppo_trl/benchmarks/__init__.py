"""Problem sets: each module turns one benchmark into a list of `Problem`."""
