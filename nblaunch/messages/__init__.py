"""What travels between a launch and its ranks."""
