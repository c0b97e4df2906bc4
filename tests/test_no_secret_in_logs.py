"""Runs last: no trace, log or output of the whole suite holds a test password, in any of the forms it travels in."""

import base64

from tests import suite_log
from tests.secrets_used import PASSWORD, TOKEN


def forms(secret: str) -> set[bytes]:
    """Return the secret as it is, and as SASL PLAIN and LOGIN carry it."""
    octets = secret.encode()
    encoded = {base64.b64encode(octets), base64.b64encode(b"\0anna\0" + octets)}
    return {octets, secret.encode("latin-1"), *encoded, *(one.rstrip(b"=") for one in encoded)}


def test_no_password_is_in_any_trace_or_log_of_the_suite() -> None:
    suite_log.flush()
    logs = sorted(suite_log.DIRECTORY.glob("*.log"))
    wanted = {form for secret in (PASSWORD, TOKEN) for form in forms(secret)}
    found = [log.name for log in logs for form in wanted if form in log.read_bytes()]
    assert [] == found
