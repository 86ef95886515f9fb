"""Run a command so that all of it can be killed: supervisor, its client, process table, containment.

Imports `base` and `cancel`. `supervisor.py` runs in a process of its own and imports nothing of ours.
"""
