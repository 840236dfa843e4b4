"""Is every worker process of this container alive? Exit status 0 if `/healthz` of each answers, else 1.

Reads TIDEGAUGE_WORKERS and TIDEGAUGE_METRICS_PORT, as the worker does: set these, not the flags, in a container.
"""

import os
import sys
import urllib.request

# Straight to the worker, whatever proxy the container's environment names.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
first = int(os.environ.get("TIDEGAUGE_METRICS_PORT", "9464"))
for port in range(first, first + int(os.environ.get("TIDEGAUGE_WORKERS", "1"))):
    try:
        opener.open(f"http://127.0.0.1:{port}/healthz", timeout=2).close()
    except OSError as error:
        sys.exit(f"port {port}: {error}")
