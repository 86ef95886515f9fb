"""The tools: shell, files, search, web, sub-agents, and those of MCP servers (`mcp/`).

`toolbox.py` says which there are. Imports everything of core but `frontends`.
"""
