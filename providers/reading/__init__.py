"""Reading of replies: bytes to events, events to deltas, one parser for each protocol. Imports only core."""
