"""Commands without a screen: `caesura run`, `sessions`, `config`, `doctor`.

Imports everything of core but `tools`.
"""
