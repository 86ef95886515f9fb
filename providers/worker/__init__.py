"""The model process: litellm, sockets, dialects, failures. Nothing else imports litellm."""
