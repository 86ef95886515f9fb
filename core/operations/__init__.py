"""Everything that is alive, and what front ends hear of it: registry, deadlines, back-offs, jobs, events.

Imports `base`, `cancel`, `model`, `permissions`, `process`.
"""
