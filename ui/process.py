"""The process of a server: its port, its start and its end."""

import asyncio
import errno
import functools
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from longview.app.errors import EXPECTED_ERRORS, PortBusy
from longview.app.maintenance.housekeeping import run_hourly
from longview.app.service import Longview
from longview.app.serving.sample import add_samples
from longview.app.serving.workers import Workers
from longview.app.streams import MAX_CANCEL_S
from longview.ui.access import HOST
from longview.ui.server import create

log = logging.getLogger(__name__)

MAX_PORTS = 50
TICK_S = 1.0
"""Interval at which the time in the headers of replies is renewed, in seconds."""
MAX_SHUTDOWN_S = 1
"""Maximum time that the server waits for open connections when it stops, in seconds."""


def serve(app: Longview, port: int | None, *, with_samples: bool = False) -> None:
    """Serve until interrupted. Without an explicit port, the next free port is used if the default port is busy.

    `with_samples`: whether an empty library gets the sample videos, while the page is open already.

    Raises:
        PortBusy: the explicit port is in use; the message names the next free port.
    """
    first_choice = port or app.settings.port
    free = next_free_port(first_choice)
    if free != first_choice:
        if port is not None:
            raise PortBusy(f"Port {first_choice} is in use; the next free one is {free}: serve --port {free}")
        print(f"Port {first_choice} is in use; using {free}, the next free port.", file=sys.stderr)
    workers = Workers(app, starts=False)
    web = create(app, workers)
    stopping = threading.Event()
    threading.Thread(target=run_hourly, args=(app, stopping), daemon=True).start()
    config = uvicorn.Config(web, host=HOST, port=free, log_level="warning", timeout_graceful_shutdown=MAX_SHUTDOWN_S)
    server = _Server(config, app, workers, with_samples=with_samples)
    if app.notice:
        print(app.notice, file=sys.stderr)
    print(f"Longview is open at http://{HOST}:{free}", flush=True)
    try:
        server.run()
    finally:
        stopping.set()
        workers.close()
        app.close()


class _Server(uvicorn.Server):
    """A server that cancels its jobs as soon as it is asked to stop, and that does nothing while nothing is asked of it."""

    def __init__(self, config: uvicorn.Config, app: Longview, workers: Workers, *, with_samples: bool) -> None:
        super().__init__(config)
        self._app, self._workers, self._with_samples = app, workers, with_samples
        self._wakes: Callable[[], object] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then begin with the jobs."""
        await super().startup(sockets)
        # Gradio's objects stay. Each full collection of garbage would look at them for a tenth of a second, in which no page is
        # answered; replies with thousands of segments cause such collections.
        gc.freeze()
        if not self.should_exit:
            threading.Thread(target=_begin, args=(self._app, self._workers, self._with_samples), daemon=True).start()

    async def main_loop(self) -> None:
        """Wait until the server is asked to stop. uvicorn's own loop looks ten times a second."""
        loop, is_asked = asyncio.get_running_loop(), asyncio.Event()
        self._wakes = functools.partial(loop.call_soon_threadsafe, is_asked.set)
        while not await self.on_tick(0):
            # Each round renews the time in the headers of the replies.
            with suppress(TimeoutError):
                await asyncio.wait_for(is_asked.wait(), TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections, and wait for the end of the jobs.

        uvicorn then raises the signal again, and SIGTERM ends the process before `run` returns.
        """
        await super().shutdown(sockets)
        await asyncio.to_thread(self._workers.close, wait_s=MAX_CANCEL_S)
        self._app.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal ends all connections at once.

        After Ctrl-C, what is unfinished is paused, because a person stopped it. After another signal, as at the end of a session
        of the system, the next server resumes it.
        """
        self._workers.stop(pauses=sig == signal.SIGINT)
        # Open pages hold connections, and uvicorn reports each of them that it has to end.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)
        self._wakes()


def next_free_port(first: int) -> int:
    """Return the first port from `first` on that is free.

    Raises:
        PortBusy: none of the next `MAX_PORTS` is free.
    """
    for port in range(first, min(first + MAX_PORTS, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            return port
    raise PortBusy(f"Ports {first} to {first + MAX_PORTS - 1} are all in use; choose one with --port.")


def _begin(app: Longview, workers: Workers, with_samples: bool) -> None:
    """Begin with the jobs, add the samples, and load what a search needs. The checkpoint is loaded for the first who needs it."""
    if not workers.is_closed:
        workers.start()
    for step in (functools.partial(add_samples, app, workers) if with_samples else None, app.warm_up):
        try:
            if step is not None and not workers.is_closed:
                step()
        except EXPECTED_ERRORS as error:
            log.warning("%s", error)
        except Exception:
            # What needs it says so again.
            log.exception("the server cannot be prepared")
