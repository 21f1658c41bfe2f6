"""Where ranks are: stacks as they are taken, and as they are shown."""
