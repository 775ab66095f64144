"""The page on this machine alone: answers to GET, for the page, its contents, and files of reports and figures."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from pipeline.browse.contents import Contents, as_json, contents_of
from pipeline.browse.page import policy, render
from pipeline.browse.rows import rows_of
from pipeline.config.run import SelectConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.graph import Node
from pipeline.engine.inventory.layout import COMPLETE, SHARD
from pipeline.errors import UserError
from pipeline.machine.progress import say
from pipeline.results.chosen import choose
from pipeline.results.differences import differences

HOST = "127.0.0.1"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".csv": "text/csv; charset=utf-8",
    ".json": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8",
}
"""Files of an artifact that are served, by their ends."""
_STRANGE = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-inline'; "
    "sandbox allow-scripts allow-downloads"
)
"""Policy of files from the store: they run apart from the page and load nothing."""
_KEY = re.compile(r"[0-9a-f]{12}")
_PAUSE = 2.0
"""Seconds between two looks at the store, at least; and five times as long as a look takes."""


class Fresh:
    """Contents of the page, looked up again when they are asked for and old.

    Parameters
    ----------
    look : callable
        Gives the contents of now.
    """

    def __init__(self, look: Callable[[], Contents]) -> None:
        self._look, self._lock = look, threading.Lock()
        self._next = 0.0
        self._contents: Contents = {}
        self._mark = ""

    def get(self) -> tuple[Contents, str]:
        """Give contents and a mark that changes with them."""
        with self._lock:
            if time.monotonic() >= self._next:
                begun = time.monotonic()
                found = self._look()
                main = {name: value for name, value in found["main"].items() if name != "made"}
                mark = hashlib.sha256(as_json({**found, "main": main}).encode()).hexdigest()[:16]
                self._contents, self._mark = found, mark
                now = time.monotonic()
                self._next = now + max(_PAUSE, 5 * (now - begun))
            return self._contents, self._mark


class Server(ThreadingHTTPServer):
    """Serves one store.

    Parameters
    ----------
    store : Store
        The store.
    fresh : Fresh
        Contents of the page.
    port : int
        Port on 127.0.0.1; 0 takes any free one.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, store: Store, fresh: Fresh, port: int) -> None:
        self.store, self.fresh = store, fresh
        super().__init__((HOST, port), Answer)

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has closed its window."""


class Answer(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "seedscope", ""
    timeout = 30
    _ways: ClassVar[dict[str, str]] = {"/": "_page", "/contents.json": "_contents", "/differences.json": "_differences"}

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""

    def do_GET(self) -> None:
        """Answer a GET request, from this machine's browser alone."""
        if not self._from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "This page answers to 127.0.0.1 and localhost alone.")
            return
        try:
            path = urlsplit(self.path).path
            if path in self._ways:
                getattr(self, self._ways[path])()
            elif path.startswith("/files/"):
                self._file(path.removeprefix("/files/"))
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
        except UserError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except OSError as error:
            if not isinstance(error, ConnectionError):
                self._refuse(HTTPStatus.NOT_FOUND, f"It cannot be read ({error.strerror or error}).")

    do_HEAD = do_GET

    def _from_here(self) -> bool:
        """Whether the address that the browser was given is this machine's: a name on the net may lead here as well."""
        hosts = self.headers.get_all("Host") or []
        return len(hosts) == 1 and hosts[0].lower() in {f"{name}:{self.server.port}" for name in (HOST, "localhost")}

    def _page(self) -> None:
        contents, _ = self.server.fresh.get()
        self._send(render(contents).encode(), _KINDS[".html"], policy(live=True))

    def _contents(self) -> None:
        contents, mark = self.server.fresh.get()
        if self.headers.get("If-None-Match") == f'"{mark}"':
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", f'"{mark}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(as_json(contents).encode(), "application/json", mark=mark)

    def _differences(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        keys = [asked.get(side, [""])[0] for side in ("first", "second")]
        if not all(_KEY.fullmatch(key) for key in keys):
            raise UserError("Name two artifacts by their keys of twelve digits: first=KEY&second=KEY.")
        chosen = choose(self.server.store)
        found = [next((one for one in chosen.records if one.key == key and not one.problem), None) for key in keys]
        if found[0] is None or found[1] is None:
            raise UserError("One of the two artifacts is not finished, or is damaged.")
        rows = list(differences((chosen, found[0]), (chosen, found[1])))
        plain = [[*row[:4], row[4] if row[4] is not None and abs(row[4]) < 1e308 else None] for row in rows]
        self._send(as_json(plain).encode(), "application/json")

    def _file(self, place: str) -> None:
        """Send one file of a finished artifact, or the list of those that are served."""
        parts = [unquote(part, errors="surrogateescape") for part in place.split("/")]
        folder, inner = _artifact(self.server.store.root, parts)
        artifact = Artifact(folder)
        names = [name for name in sorted(artifact.manifest["files"]) if Path(name).suffix in _KINDS]
        if not inner:
            lines = [f"{artifact.stage} {folder.name}", str(folder), "", *artifact.manifest["files"]]
            self._send("\n".join(map(_printable, lines)).encode(), _KINDS[".json"])
            return
        if inner not in names:
            raise UserError("There is no such file, or it is none of a report or figure.")
        path = (folder / inner).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise UserError("This file leads out of its artifact.")
        content = artifact.path(inner).read_bytes()
        self._send(content, _KINDS[path.suffix], _STRANGE)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(f"{why}\n".encode("utf-8", "replace"), _KINDS[".json"], status=status)

    def _send(
        self,
        body: bytes,
        kind: str,
        rules: str = "default-src 'none'",
        *,
        mark: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{rules}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in {**headers, **({"ETag": f'"{mark}"'} if mark else {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _artifact(root: Path, parts: list[str]) -> tuple[Path, str]:
    """Find the finished artifact that a path begins with, and what follows.

    Raises
    ------
    UserError
        If a part is none that a store has, so that nothing outside of it can be named.
    """
    odd = any(part in (".", "..") or part.startswith(".") or set(part) & {"/", "\\", "\0"} for part in parts)
    depth = next((i for i, part in enumerate(parts[:3]) if COMPLETE.fullmatch(part)), None)
    if odd or depth not in (1, 2) or "" in parts[:-1] or (depth == 2 and not SHARD.fullmatch(parts[1])):
        raise UserError("There is no such artifact.")
    folder = root.joinpath(*parts[: depth + 1])
    if not folder.is_dir() or not folder.resolve().is_relative_to(root.resolve()):
        raise UserError("There is no such artifact.")
    return folder, "/".join(parts[depth + 1 :])


def serve(store: Store, target: Node | None, select: SelectConfig | None, port: int) -> None:
    """Serve the page until the command is interrupted.

    Raises
    ------
    UserError
        If the port is taken or not this user's to use.
    """
    fresh = Fresh(lambda: contents_of(rows_of(store, target, select), store.root, None))
    try:
        server = Server(store, fresh, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        other = port + 1 if 1024 <= port < 65_535 else 8000
        words = f"serve={port} cannot be used ({reason}): choose another port, such as serve={other}."
        raise UserError(words) from error
    with server:
        fresh.get()  # what is wrong with the store is said here, and the first look at a large one takes seconds
        say(f"serving {store.root} at http://{HOST}:{server.port}/ for this machine alone; Ctrl-C ends it")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("ended: nothing in the store was changed")
