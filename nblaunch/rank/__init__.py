"""What runs inside a rank: its tasks, its shell, its debugger and its random state.

Nothing here imports a widget or a Jupyter client. IPython is imported only in ranks that run a cell or debug.
"""
