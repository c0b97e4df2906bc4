"""Open sessions with an account's servers, for the length of a block: logged in, abortable from outside, closed at its end.

The secret is read when it is needed, and not kept. Raises what `pop3.client` and `smtp.relay` raise, and SecretUnavailable.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from daemon import errors
from daemon.jobs.context import Abortable, Context
from daemon.mail.account import Account, Pop3, Smtp
from daemon.pop3.client import Client
from daemon.pop3.memory import Memory
from daemon.smtp.relay import Relay
from daemon.wire.sasl import Credentials
from daemon.wire.secret import Secret
from daemon.wire.stream import Endpoint
from daemon.wire.transcript import Transcript


@contextmanager
def maildrop(
    pop3: Pop3,
    context: Context,
    *,
    transcript: Transcript,
    deadline: float,
    progress: Callable[[], None],
    memory: Memory | None = None,
) -> Iterator[Client]:
    """Open the maildrop; without QUIT, nothing is deleted. deadline: a value of the context's monotonic clock."""
    with context.sessions.watching() as opened:
        client = Client.connect(
            pop3.endpoint,
            Credentials(username=pop3.username, secret=pop3.password.read() if pop3.password else Secret("")),
            auth=pop3.auth,
            memory=memory,
            language=pop3.language,
            transcript=transcript,
            deadline=deadline,
            progress=progress,
            opened=opened,
        )
        with closing(client):
            yield client


@contextmanager
def relay(
    account: Account,
    smtp: Smtp,
    endpoint: Endpoint,
    context: Context,
    *,
    deadline: float,
    progress: Callable[[], None],
) -> Iterator[Relay]:
    """Hold a session with the relay, logged in where the settings have a login: one that was kept, or else a new one.

    It is kept when the block ends well and it can still be used. The transcript of one that fails is logged.
    """
    key = (account.name, str(endpoint))
    pace = context.connections.pace(key)
    with context.sessions.watching() as opened:
        held = context.connections.take(key, deadline=deadline, progress=progress, opened=opened)
        if held is None:
            held = _connected(
                account, smtp, endpoint, context, pace.without, deadline=deadline, progress=progress, opened=opened
            )
        try:
            yield held
        except BaseException:
            held.close()
            context.kept(held.transcript)
            raise
        if held.usable:
            context.connections.keep(key, held, context.monotonic())
        else:
            held.close()


def _connected(
    account: Account,
    smtp: Smtp,
    endpoint: Endpoint,
    context: Context,
    without: frozenset[str],
    *,
    deadline: float,
    progress: Callable[[], None],
    opened: Callable[[Abortable], None],
) -> Relay:
    credentials, transcript = None, context.transcript(account.name)
    if smtp.username is not None:
        secret = smtp.password.read() if smtp.password else Secret("")
        credentials = Credentials(username=smtp.username, secret=secret)
    try:
        return Relay.connect(
            endpoint,
            credentials,
            auth=smtp.auth,
            protocol=smtp.protocol,
            without=without,
            helo_name=account.domain,
            transcript=transcript,
            deadline=deadline,
            progress=progress,
            opened=opened,
        )
    except errors.PostroomError:
        context.kept(transcript)
        raise
