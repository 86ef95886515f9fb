"""The panel of what runs: rows with stop buttons."""
