"""One process, because tasks live in its memory; many threads, because each open event stream holds one."""

import os

bind = os.environ.get("CAPTIONS_BIND", "127.0.0.1:5000")
workers = 1
worker_class = "gthread"
threads = 64
keepalive = 30
# Streams end only with their tasks: a stop does not wait for them.
graceful_timeout = 1
# Nothing manages this server at run time, so it leaves no control socket in the home directory.
control_socket_disable = True
