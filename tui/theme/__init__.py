"""Themes: reading, checking, converting to Textual's themes, applying."""
