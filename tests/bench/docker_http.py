"""HTTP/1.1 on a Unix socket, bare enough that its own time does not count.

http.client spends a quarter of a millisecond on parsing headers, as long as the answers of docker
take that are measured here.
"""

import json
import os
import socket
import time

from machine import BenchError

END_OF_HEAD = b"\r\n\r\n"


class HttpConnection:
    """One connection, kept open, opened again when the server has closed it meanwhile."""

    def __init__(self, path, timeout):
        self.path = path
        self.timeout = timeout
        self.socket = None
        self.buffer = b""
        self.last_ms = 0.0

    def call(self, method, target, body=None):
        """Sends a request with a JSON body; returns the decoded answer. Fails above status 299."""
        data = b"" if body is None else json.dumps(body).encode()
        status, answer = self.send(method, target, data, "application/json")
        if status > 299:
            raise BenchError(f"{method} {target}: {status} {answer[:300].decode(errors='replace')}")
        return json.loads(answer) if answer[:1] in (b"{", b"[") else answer

    def send(self, method, target, data, content_type):
        """Sends a request; returns status and body."""
        head = (
            f"{method} /v1.41{target} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        request = head.encode() + data
        reused = self.socket is not None
        try:
            return self._exchange(request)
        except (BrokenPipeError, ConnectionResetError, EOFError):
            self.close()
            # A connection that was idle may be gone. Only what changes nothing is sent twice.
            if not reused or method == "POST":
                raise
            return self._exchange(request)

    def close(self):
        """Ends the connection."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.buffer = b""

    def inode(self):
        """Of our end of the socket."""
        return os.fstat(self.socket.fileno()).st_ino

    def _exchange(self, request):
        if self.socket is None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(self.timeout)
            self.socket.connect(self.path)
        started = time.monotonic()
        self.socket.sendall(request)
        while END_OF_HEAD not in self.buffer:
            self._receive()
        self.last_ms = (time.monotonic() - started) * 1e3
        head, self.buffer = self.buffer.split(END_OF_HEAD, 1)
        status, fields = parse_head(head)
        if status == 204:
            body = b""
        elif fields.get(b"transfer-encoding") == b"chunked":
            body = self._chunks()
        else:
            body = self._take(int(fields.get(b"content-length", b"0")))
        if fields.get(b"connection") == b"close":
            self.close()
        return status, body

    def _receive(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError("the server closed the connection")
        self.buffer += data

    def _take(self, count):
        while len(self.buffer) < count:
            self._receive()
        data = self.buffer[:count]
        self.buffer = self.buffer[count:]
        return data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._receive()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _chunks(self):
        parts = []
        while True:
            size = int(self._line(), 16)
            parts.append(self._take(size))
            self._line()
            if size == 0:
                return b"".join(parts)


def parse_head(head):
    """Status and fields (names in lower case) of an answer."""
    lines = head.split(b"\r\n")
    status = int(lines[0].split(b" ", 2)[1])
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return status, fields
