"""What the notebook holds of a launch: `Run`, its results and failures, and what its ranks ask."""
