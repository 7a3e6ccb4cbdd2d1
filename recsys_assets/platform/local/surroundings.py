"""The variables that the stack starts with: a list of what is let in, whoever starts it.

Here: pure. A run of Dagster, a test, a shell or a keeper may be the starter, and what the stack does must not depend on
which; what we start outlives it, too. Not here: what single programs are given more (`programs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_NAMES: Final = frozenset(
    [
        *("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER"),
        *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONUNBUFFERED", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("DO_NOT_TRACK", "FEAST_USAGE", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"),
    ]
)
# Where data may lie on S3, its identity comes by variables.
_PREFIXES: Final = ("LC_", "AWS_")
# Nothing of ours reads it; libraries' logs, consoles and databases do.
_FIXED: Final = {"TZ": "UTC", "PGTZ": "UTC"}


def let_in(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the starter's variables that the stack may see, and UTC whatever the starter's time zone is."""
    seen = {name: value for name, value in variables.items() if name in _NAMES or name.startswith(_PREFIXES)}
    return seen | _FIXED
