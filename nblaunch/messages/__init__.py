"""Messages between a launch and its ranks, a file for each kind: `work` goes to a rank, all others come from one."""
