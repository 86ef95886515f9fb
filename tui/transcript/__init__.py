"""The conversation as lines: document, cards and notices; `live.py` from events, `stored.py` from records."""
