"""The one application, and the screen before there is a session (`first_start/`)."""
