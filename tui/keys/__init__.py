"""The table of key bindings, and what each key does in a given state."""
