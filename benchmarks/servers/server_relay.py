"""Relays between Longview and a model server: they hide what it publishes, count bytes, or act in the middle of a reply."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

EVENT = b"data: "
"""What begins each event of a stream."""
READ_SIZE_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 10.0


class ServerRelay:
    """Forwards connections to a port of this machine, as a gateway does. Its replies lack the fields that it hides."""

    def __init__(self, port: int, *, hidden_fields: Sequence[str] = ()) -> None:
        self.sent_bytes = 0
        """Size of what was sent to the server."""
        self._target = port
        # Other names of the same length keep the lengths in headers true.
        self._replacements = {f'"{name}":'.encode(): f'"{"x" * len(name)}":'.encode() for name in hidden_fields}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the API of the server through the relay."""
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        """Refuse further connections."""
        # Without the shutdown, the thread that waits for a connection would keep the port open.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def note_event(self, number: int) -> None:
        """Note that the `number`th event of a stream, from 1, was passed on."""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=CONNECT_TIMEOUT_S)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
            threading.Thread(target=self._return, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(READ_SIZE_BYTES):
                server.sendall(data)
                with self._lock:
                    self.sent_bytes += len(data)
            server.shutdown(socket.SHUT_WR)

    def _return(self, server: socket.socket, client: socket.socket) -> None:
        events = 0
        with server, client:
            with suppress(OSError):
                while data := server.recv(READ_SIZE_BYTES):
                    for name, other in self._replacements.items():
                        data = data.replace(name, other)
                    client.sendall(data)
                    for _ in range(data.count(EVENT)):
                        events += 1
                        self.note_event(events)
            # The other thread reads from the client; a mere close would leave the connection open for as long.
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class ReplyRelay(ServerRelay):
    """Calls a function in the middle of a reply.

    When a reply reaches its `event`th event, and `replies` other replies have reached theirs before, the relay refuses further
    connections and calls `act`, once. Shorter replies do not count.
    """

    def __init__(self, port: int, *, replies: int, event: int, act: Callable[[], None]) -> None:
        self.has_acted = False
        self._replies, self._event, self._act = replies, event, act
        self._long_replies = 0
        super().__init__(port)

    def note_event(self, number: int) -> None:
        """See `ServerRelay.note_event`."""
        if number != self._event:
            return
        with self._lock:
            self._long_replies += 1
            if self.has_acted or self._long_replies <= self._replies:
                return
            self.has_acted = True
        self.close()
        self._act()
