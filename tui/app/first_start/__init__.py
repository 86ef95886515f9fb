"""The screen before the first session: choose a model, enter a key."""
