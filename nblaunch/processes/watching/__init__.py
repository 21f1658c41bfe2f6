"""What is looked at while ranks run: stalls, memory, the size of logs, stacks."""
