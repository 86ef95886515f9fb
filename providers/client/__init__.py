"""The parent's side of the model process: start it, talk to it, stop a stream, kill it."""
