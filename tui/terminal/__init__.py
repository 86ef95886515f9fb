"""The terminal: input bytes, escape sequences, signals, and restoring it. Does not know sessions."""
