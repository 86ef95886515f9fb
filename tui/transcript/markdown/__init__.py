"""Markdown as it streams: source to blocks to spans. Does not know Textual."""
