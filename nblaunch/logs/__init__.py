"""What ranks write: the files, who reads them, and the folders that they lie in."""
