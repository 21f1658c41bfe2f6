"""From a cell or function to a run: what is checked, captured and packed, and what starts and waits."""
