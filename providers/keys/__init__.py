"""API keys: their names, where they are looked for, where they are kept, the command for them."""
