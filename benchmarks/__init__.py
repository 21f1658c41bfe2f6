"""nblaunch and its peers on the same work, alternating in one run; see ``benchmarks/README.md``."""
