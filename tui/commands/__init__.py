"""Slash commands. They know the pane only through protocols."""
