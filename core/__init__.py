"""The assistant without a screen and without a provider. Imports nothing of `providers` or `tui`.

`cancel.py` is the tree of tokens; each package says in its own docstring what it may import.
"""
