"""The model process: litellm, sockets, dialects, errors. Nothing else imports litellm."""
