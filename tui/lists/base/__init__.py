"""The bases of the lists over the transcript, and what lists read from."""
