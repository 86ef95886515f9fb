"""Overlays over the transcript: sessions, models, themes, help, palette, notes, doctor; and the running
panel."""
