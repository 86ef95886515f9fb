"""`caesura config check --server NAME`: ask a server what it takes, and propose its settings."""
