"""One conversation over time: history, queue, background commands, model switch, titles; the archive of all.

Imports `engine` and what stands below it. Tools and settings are handed in.
"""
