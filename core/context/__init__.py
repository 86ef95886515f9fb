"""What a model is sent: system prompt, project notes, memory, the part that fits the window, compaction.

Imports `storage`, `operations` and the packages below them.
"""
