"""What travels between a launch and its ranks: `work` there, all others back, one file for each kind."""
