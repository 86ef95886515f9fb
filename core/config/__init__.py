"""The settings: their declarations, layers, errors with file and line, edits that keep comments, trust.

Imports `base`, `model`, `permissions`, `process`.
"""
