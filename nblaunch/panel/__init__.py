"""Panels show a run while it runs: consumers of events and readers of log files that own no process."""
