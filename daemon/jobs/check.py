"""Try everything that the settings name, and change nothing: log in, look, log out; one finding a line."""

from collections.abc import Iterator
from dataclasses import dataclass

from daemon import errors
from daemon.jobs import letter, maildrop, session
from daemon.jobs.context import Context
from daemon.mail.account import Account, Smtp
from daemon.pop3.retention import Expire
from daemon.wire.stream import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `postroom check`: what was tried and what came of it; `error` is None where all is well."""

    subject: str
    text: str
    error: errors.PostroomError | None = None


def account(one: Account, context: Context) -> Iterator[Finding]:
    """Log in to the account's servers; the maildrop is listed, not touched, and nothing is sent."""
    if one.pop3 is not None:
        subject = f"{one.name} POP3 {one.pop3.endpoint.host}:{one.pop3.endpoint.port}"
        try:
            with maildrop.visiting(one, context) as client:
                stat, facts = client.stat(), client.capabilities
                client.noop()
                text = f"logged in; {stat.count} messages, {stat.octets} octets; "
                text += f"{client.tls_version or 'no TLS'}; says {' '.join(sorted(facts.names)) or 'no CAPA'}"
                text += f"; wants {facts.login_delay} s between logins" if facts.login_delay else ""
                expire = Expire.parse(facts.expire)
                if expire is not None:
                    text += f"; {expire}" + "".join(f"; warning: {one}" for one in expire.concerns(one.pop3))
            yield Finding(subject=subject, text=text)
        except errors.PostroomError as error:
            yield Finding(subject=subject, text=str(error), error=error)
    if one.smtp is None:
        return
    yield from key(one)
    for endpoint in one.smtp.endpoints:
        subject = f"{one.name} {one.smtp.protocol.upper()} {endpoint}"
        try:
            yield Finding(subject=subject, text=_relay(one, one.smtp, endpoint, context))
        except errors.PostroomError as error:
            yield Finding(subject=subject, text=str(error), error=error)


def key(one: Account) -> Iterator[Finding]:
    """Try the key that an account's letters are signed with, if they are; what stands in the DNS is not looked at, but said."""
    if one.smtp is None or one.smtp.dkim is None:
        return
    subject = f"{one.name} DKIM {one.smtp.dkim.selector}._domainkey.{one.smtp.dkim.domain}"
    try:
        record = letter.signer(one.smtp.dkim).record[1]
        yield Finding(subject=subject, text=f"the key can sign; this TXT record has to be in the DNS: {record}")
    except errors.SecretUnavailable as error:
        yield Finding(subject=subject, text=str(error), error=error)


def _relay(one: Account, smtp: Smtp, endpoint: Endpoint, context: Context) -> str:
    deadline = context.monotonic() + maildrop.SESSION_SECONDS
    with session.relay(one, smtp, endpoint, context, deadline=deadline, progress=context.pulse) as relay:
        text = (
            f"{'logged in' if smtp.username is not None else 'connected, no login'}; {relay.tls_version or 'no TLS'}; "
        )
        text += f"says {' '.join(sorted(relay.features.names)) or 'nothing (HELO)'}"
        relay.quit()
    return text
