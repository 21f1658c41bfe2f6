"""What is private to Jupyter's kernels and frontends."""
