"""How a process of `core.tools.python_process` gets its request; both sides know this."""

from __future__ import annotations

REQUEST = "CAESURA_REQUEST"
"""The variable with the request, in JSON."""
