"""Hand-written cases by kind; how they are written stands in `tests.differential.case`."""
