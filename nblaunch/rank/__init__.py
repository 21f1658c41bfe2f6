"""What runs inside a rank: its main loop, its shell, its randomness and its threads.

Nothing here imports a widget or a Jupyter client; IPython's core is imported only where a cell runs.
"""
