"""One turn: ask the model, run its calls, commit the step. Knows what a tool is, and no tool.

Imports `context`, `storage`, `operations` and what stands below them.
"""
