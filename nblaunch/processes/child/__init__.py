"""What a rank does before, and after, code of the user's runs."""
