"""What a login may know of its connection."""

import queue
import socket
import ssl
import threading
from contextlib import closing
from pathlib import Path

import pytest

from daemon.wire.channel import channel_of
from daemon.wire.stream import Endpoint, Security, Stream
from daemon.wire.transcript import Transcript
from tests.doubles.scripted import authority, ca_file


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_has_a_channel_binding_that_both_sides_see_and_1_3_has_none_here(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority().issue_cert("127.0.0.1").configure_cert(context)
    theirs: queue.Queue[bytes | None] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connected, _ = listener.accept()
            with context.wrap_socket(connected, server_side=True) as secured:
                theirs.put(secured.get_channel_binding("tls-unique"))
                secured.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        endpoint = Endpoint(
            host="127.0.0.1", port=listener.getsockname()[1], security=Security.TLS, ca_file=ca_file(tmp_path)
        )
        with closing(Stream.connect(endpoint, transcript=Transcript("s", "a"))) as stream:
            first, second = channel_of(stream), channel_of(stream)
        thread.join()
    expected = ("tls-unique", theirs.get()) if version is ssl.TLSVersion.TLSv1_2 else None
    assert expected == first.binding
    assert first.nonce != second.nonce
    assert "," not in first.nonce
    assert first.nonce.isascii()
    assert first.nonce.isprintable()
