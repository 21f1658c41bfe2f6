"""``%%multiproc``: the line, the cell, and the commands of ``%multiproc``."""
