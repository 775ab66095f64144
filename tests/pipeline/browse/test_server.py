"""The page is served to this machine alone: GETs of the page, its contents, and files of reports and figures."""

import http.client
import json
import socket
import threading

import pytest

from pipeline.browse import server as serving
from pipeline.browse.contents import contents_of
from pipeline.browse.rows import rows_of
from pipeline.browse.server import Fresh, Server, serve
from pipeline.errors import UserError

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def served(store):
    with Server(store, Fresh(lambda: contents_of(rows_of(store), store.root, None)), 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_and_its_contents_are_served_and_tell_when_nothing_changed(served):
    status, headers, body = ask(served, "/")
    assert (
        status == 200 and b"What was made here" in body and "connect-src 'self'" in headers["Content-Security-Policy"]
    )
    status, headers, body = ask(served, "/contents.json")
    assert status == 200 and json.loads(body)["main"]["live"] is True
    assert ask(served, "/contents.json", If_None_Match=headers["ETag"])[0] == 304
    rows = json.loads(body)["main"]["rows"]
    keys = [key for key, state in zip(rows["key"], rows["state"], strict=True) if not state]
    status, _, body = ask(served, f"/differences.json?first={keys[0]}&second={keys[1]}")
    assert status == 200 and {row[0] for row in json.loads(body)} >= {"setting", "file"}


def test_files_of_an_artifact_are_served_and_nothing_else(served):
    folder = served.store.finished("square")[0].relative_to(served.store.root).as_posix()
    status, headers, body = ask(served, f"/files/{folder}/metrics.json")
    assert status == 200 and b'"sum"' in body and "sandbox" in headers["Content-Security-Policy"]
    assert b"square.safetensors" in ask(served, f"/files/{folder}")[2]
    (served.store.root.parent / "secret.html").write_text("secret")
    refused = [
        f"/files/{folder}/square.safetensors",
        f"/files/{folder}/../../../../secret.html",
        "/files/../secret.html",
    ]
    refused += [
        f"/files/{folder}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.html",
        "/files/%2fetc%2fpasswd",
        "/files//etc/passwd",
    ]
    refused += [
        "/files/square/..%2f..%2fsecret.html",
        f"/files/{folder}/provenance.json",
        "/.index.sqlite",
        "/etc/passwd",
    ]
    for path in refused:
        status, _, body = ask(served, path)
        assert status == 404 and b"secret\n" not in body and b"root:" not in body, path


def test_a_name_that_leads_here_and_other_methods_are_refused(served):
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1", "127.0.0.1:1"):
        assert ask(served, "/contents.json", Host=host)[0] == 403
    assert ask(served, "/", Host=f"localhost:{served.port}")[0] == 200
    assert {ask(served, "/", method)[0] for method in ("POST", "PUT", "DELETE", "OPTIONS")} == {501}
    assert served.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_one_sentence(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UserError, match=rf"^serve={port} cannot be used \(.*\): choose another port, such as serve="
        ):
            serve(store, None, None, port)


def test_an_interrupt_ends_it_in_order(store, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.Server, "serve_forever", interrupt)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve(store, None, None, port)
    assert "for this machine alone; Ctrl-C ends it" in (said := capsys.readouterr().err) and "ended" in said
