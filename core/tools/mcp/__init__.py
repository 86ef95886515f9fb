"""The client of MCP servers. Only `sdk_session.py` imports the SDK."""
