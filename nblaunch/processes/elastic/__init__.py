"""What torch elastic's package of processes has under names of its own."""
