"""How the processes of ranks are made."""
