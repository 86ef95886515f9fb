"""The interface to models: messages, requests, deltas, providers, prices.

Imports `base` and `cancel`. With them it is all that `providers` may know of `core`.
"""
