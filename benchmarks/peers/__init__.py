"""What nblaunch is measured beside, one file per peer, and the limits that the machine sets."""
