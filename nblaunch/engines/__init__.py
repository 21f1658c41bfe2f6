"""Where a gang runs. `base` is the contract, every other file one implementation of it."""
