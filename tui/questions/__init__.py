"""The open question and its answers."""
