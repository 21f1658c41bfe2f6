"""What a rank sees is what the notebook sees: compared for hand-written cases and for programs drawn at random."""
