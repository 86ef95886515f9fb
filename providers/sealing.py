"""What the libraries of the model process find in the environment: what is listed here, no more (P9).

litellm looks up some hundred variables, and its `.env` loader fills them from the current folder and every
folder above: a repository could have named the address that a key is sent to. So the loader is off, the
current folder is the root, and a variable counts only if it is listed. Keys and addresses that the person has
set are read from the full environment by code of ours (`providers.keys.finder`) and handed on with each
request.

Not covered: files below the home folder that a provider's own sign-in reads (`~/.aws`, `~/.config/gcloud`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM = (
    "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TEMP", "TMP", "TMPDIR", "TZ", "USER",
)  # fmt: skip
PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""In capitals and in small letters."""
CERTIFICATES = ("SSL_CERT_DIR", "SSL_CERT_FILE")
KEYRINGS = ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
"""Where a keyring asks for its password."""
ACCOUNTS = (
    "ANTHROPIC_WORKSPACE_ID", "CLOUDFLARE_ACCOUNT_ID", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET",
    "FIREWORKS_ACCOUNT_ID", "GOOGLE_APPLICATION_CREDENTIALS", "OPENAI_ORGANIZATION", "PREDIBASE_TENANT_ID",
    "SNOWFLAKE_ACCOUNT_ID", "SNOWFLAKE_JWT", "VERCEL_OIDC_TOKEN", "WML_URL",
)  # fmt: skip
"""Parts of an address, or of what a request is billed to, for which there is no parameter of ours."""
PREFIXES = (
    "AWS_", "AZURE_", "BEDROCK_", "CAESURA_", "CHATGPT_", "CLOUDSDK_", "DBUS_", "GIGACHAT_",
    "GITHUB_COPILOT_", "GNOME_KEYRING_", "KEYRING_", "LC_", "OCI_", "PYTHON_KEYRING_", "SAGEMAKER_",
    "VERTEX_", "VERTEXAI_", "WATSONX_", "WX_", "XDG_",
)  # fmt: skip
"""Providers that sign in by themselves (`OWN_CREDENTIALS`), keyrings, and what is ours."""
PATHS = (*CERTIFICATES, "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS")

_FOR_SOCKETS = frozenset((*SYSTEM, *PROXIES, *map(str.lower, PROXIES), *CERTIFICATES))
_LISTED = frozenset((*SYSTEM, *PROXIES, *map(str.lower, PROXIES), *CERTIFICATES, *KEYRINGS, *ACCOUNTS))


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process needs of an environment that sends requests and reads replies: nothing that may be a
    key."""
    return {name: value for name, value in environment.items() if _is_harmless(name)}


def _is_harmless(name: str) -> bool:
    return name in _FOR_SOCKETS or name.startswith(("CAESURA_", "LC_", "XDG_"))


def seal() -> dict[str, str]:
    """Take from this process what is not listed, and its current folder. Returns the full environment."""
    full = dict(os.environ)
    for name in full:
        if name not in _LISTED and not name.startswith(PREFIXES):
            del os.environ[name]
    for name in PATHS:
        if path := os.environ.get(name):
            os.environ[name] = os.path.abspath(path)  # noqa: PTH100 - of the folder that is left now
    os.chdir("/")
    return full
