"""Stacks of ranks: `dump` has a rank write them and reads them, `folding` turns them into text."""
