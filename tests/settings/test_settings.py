"""Settings: sources, defaults, and a line for each mistake."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from daemon import errors, settings, variables
from daemon.mail.account import Cron, DeletePolicy, Every, First
from daemon.retry import Backoff
from daemon.wire.secret import SecretSource
from daemon.wire.stream import Security
from tests.secrets_used import PASSWORD

EXAMPLE = Path(__file__).parents[2] / ".env.example"
POP3_ONLY = {
    "POSTROOM_ACCOUNTS__WORK__ADDRESS": "anna@example.org",
    "POSTROOM_ACCOUNTS__WORK__POP3__HOST": "pop.example.org",
    "POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD": PASSWORD,
}


def load(environ: dict[str, str], dotenv: Path | None = None) -> settings.Settings:
    return settings.load(environ, dotenv)


def mistakes(environ: dict[str, str], dotenv: Path | None = None) -> list[str]:
    with pytest.raises(errors.SettingsInvalid) as caught:
        settings.load(environ, dotenv)
    return list(caught.value.mistakes)


def test_nothing_set_is_a_house_without_accounts() -> None:
    loaded = load({})
    assert "sqlite:///postroom.db" == loaded.database_url
    assert ("info", "failures", {}) == (loaded.log_level, loaded.trace, dict(loaded.accounts))
    assert Backoff(first=timedelta(minutes=1), longest=timedelta(hours=4)) == loaded.retry
    assert (None, None) == (loaded.notify_socket, loaded.watchdog_seconds)


def test_the_house_s_variables_are_read() -> None:
    loaded = load(
        {
            "POSTROOM_DATABASE_URL": "sqlite:////srv/mail.db",
            "POSTROOM_LOG_FORMAT": "Console",
            "POSTROOM_LOG_LEVEL": "debug",
            "POSTROOM_TRACE": "all",
            "POSTROOM_RETRY": "5s..1m",
            "POSTROOM_COMPRESSION": "none",
        }
    )
    assert ("sqlite:////srv/mail.db", "console", "debug", "all", "none") == (
        loaded.database_url,
        loaded.log_format,
        loaded.log_level,
        loaded.trace,
        loaded.compression,
    )
    assert Backoff(first=timedelta(seconds=5), longest=timedelta(minutes=1)) == loaded.retry


def test_host_and_password_are_enough_for_pop3() -> None:
    account = load(POP3_ONLY).accounts["work"]
    assert ("work", "anna@example.org", "example.org", None) == (
        account.name,
        account.address,
        account.domain,
        account.smtp,
    )
    assert account.pop3 is not None
    pop3 = account.pop3
    assert ("pop.example.org", 995, Security.TLS, 60) == (
        pop3.endpoint.host,
        pop3.endpoint.port,
        pop3.endpoint.security,
        pop3.endpoint.timeout_seconds,
    )
    assert pop3.password is not None
    assert ("anna@example.org", PASSWORD, "auto") == (pop3.username, pop3.password.read().reveal(), pop3.auth)
    assert (Every(interval=timedelta(minutes=5)), DeletePolicy(kind="never")) == (pop3.poll, pop3.delete)
    assert (None, None) == (pop3.max_message_octets, pop3.max_messages_per_poll)


def test_everything_of_pop3_can_be_set(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    pop3 = "POSTROOM_ACCOUNTS__WORK__POP3__"
    account = load(
        POP3_ONLY
        | {
            f"{pop3}PORT": "1110",
            f"{pop3}SECURITY": "starttls",
            f"{pop3}USERNAME": "anna",
            f"{pop3}AUTH": "PLAIN",
            f"{pop3}CA_FILE": str(ca_file),
            f"{pop3}FINGERPRINT": "AB:" * 31 + "AB",
            f"{pop3}POLL": "0 8 * * 1-5",
            f"{pop3}DELETE": "14d",
            f"{pop3}MAX_MESSAGE_OCTETS": "50M",
            f"{pop3}MAX_MESSAGES_PER_POLL": "10",
            f"{pop3}TIMEOUT": "2.5",
        }
    ).accounts["work"]
    assert account.pop3 is not None
    got = account.pop3
    assert (1110, Security.STARTTLS, ca_file, "ab" * 32, 2.5) == (
        got.endpoint.port,
        got.endpoint.security,
        got.endpoint.ca_file,
        got.endpoint.fingerprint,
        got.endpoint.timeout_seconds,
    )
    assert ("anna", "plain", Cron(expression="0 8 * * mon,tue,wed,thu,fri")) == (got.username, got.auth, got.poll)
    assert (DeletePolicy(kind="age", age=timedelta(days=14)), 50 * 1024**2, 10) == (
        got.delete,
        got.max_message_octets,
        got.max_messages_per_poll,
    )


def test_what_a_visit_takes_and_leaves_can_be_set() -> None:
    pop3 = "POSTROOM_ACCOUNTS__WORK__POP3__"
    given = {
        "FIRST": "since:2026-01-01",
        "DELETE": "above:500M",
        "DELETES_PER_SESSION": "100",
        "MAX_MESSAGE_OCTETS": "50M",
        "OVERSIZE": "headers",
        "MAX_OCTETS_PER_POLL": "1G",
        "LANGUAGE": "pt-BR",
    }
    got = load(POP3_ONLY | {pop3 + name: value for name, value in given.items()}).accounts["work"].pop3
    assert got is not None
    assert First(kind="since", since=datetime(2026, 1, 1, tzinfo=UTC)) == got.first
    assert DeletePolicy(kind="above", octets=500 * 1024**2) == got.delete
    assert (100, "headers", 1024**3, "pt-BR") == (
        got.deletes_per_session,
        got.oversize,
        got.max_octets_per_poll,
        got.language,
    )


@pytest.mark.parametrize("kind", ["POP3", "SMTP"])
def test_how_a_server_is_reached_can_be_set(kind: str) -> None:
    prefix = f"POSTROOM_ACCOUNTS__W__{kind}__"
    given = {
        "HOST": "h",
        "PASSWORD_KEYRING": "mail",
        "CLIENT_CERTIFICATE": "/etc/own.pem",
        "CLIENT_KEY": "own.key",
        "PROXY": f"socks5://anna:{PASSWORD}@proxy.example:1080",
    }
    environ = {f"{prefix}{name}": value for name, value in given.items()} | {"POSTROOM_ACCOUNTS__W__ADDRESS": "a@b.c"}
    loaded = load(environ | {"CREDENTIALS_DIRECTORY": "/run/credentials"})
    account = loaded.accounts["w"]
    server = account.pop3 or account.smtp
    assert server is not None
    assert (Path("/etc/own.pem"), Path("/run/credentials/own.key"), given["PROXY"]) == (
        server.endpoint.client_certificate,
        server.endpoint.client_key,
        server.endpoint.proxy,
    )
    assert SecretSource(keyring="mail", username="a@b.c") == server.password
    assert PASSWORD not in repr(loaded)


@pytest.mark.parametrize("kind", ["POP3", "SMTP"])
def test_a_client_certificate_may_be_the_whole_login(kind: str) -> None:
    prefix = f"POSTROOM_ACCOUNTS__W__{kind}__"
    given = {"HOST": "h", "AUTH": "external", "CLIENT_CERTIFICATE": "own.pem"}
    environ = {f"{prefix}{name}": value for name, value in given.items()} | {"POSTROOM_ACCOUNTS__W__ADDRESS": "a@b.c"}
    account = load(environ).accounts["w"]
    server = account.pop3 or account.smtp
    assert server is not None
    assert ("external", "a@b.c", None) == (server.auth, server.username, server.password)


@pytest.mark.parametrize(
    ("expected", "kind", "given"),
    [
        ((995, Security.TLS), "POP3", {}),
        ((110, Security.STARTTLS), "POP3", {"SECURITY": "starttls"}),
        ((110, Security.PLAINTEXT), "POP3", {"SECURITY": "plaintext"}),
        ((110, Security.STARTTLS), "POP3", {"PORT": "110"}),
        ((1995, Security.TLS), "POP3", {"PORT": "1995"}),
        ((587, Security.STARTTLS), "SMTP", {}),
        ((465, Security.TLS), "SMTP", {"SECURITY": "tls"}),
        ((25, Security.PLAINTEXT), "SMTP", {"SECURITY": "plaintext"}),
        ((465, Security.TLS), "SMTP", {"PORT": "465"}),
        ((25, Security.STARTTLS), "SMTP", {"PORT": "25"}),
    ],
)
def test_port_and_security_follow_from_one_another(
    expected: tuple[int, Security], kind: str, given: dict[str, str]
) -> None:
    """A port may choose the kind of TLS, but never plaintext."""
    base = {"POSTROOM_ACCOUNTS__W__ADDRESS": "a@b.c"}
    for name, value in {"HOST": "h", "PASSWORD": PASSWORD, **given}.items():
        base[f"POSTROOM_ACCOUNTS__W__{kind}__{name}"] = value
    account = load(base).accounts["w"]
    server = account.pop3 or account.smtp
    assert server is not None
    assert expected == (server.endpoint.port, server.endpoint.security)


def test_a_relay_without_password_wants_no_login() -> None:
    account = load(
        {"POSTROOM_ACCOUNTS__W__ADDRESS": "a@b.c", "POSTROOM_ACCOUNTS__W__SMTP__HOST": "localhost"}
    ).accounts["w"]
    assert account.pop3 is None
    assert account.smtp is not None
    assert (None, None, 1, ()) == (
        account.smtp.username,
        account.smtp.password,
        account.smtp.max_connections,
        account.smtp.budget,
    )


def test_a_relay_s_user_is_the_address_when_there_is_a_password() -> None:
    smtp = "POSTROOM_ACCOUNTS__W__SMTP__"
    account = load(
        {
            "POSTROOM_ACCOUNTS__W__ADDRESS": "a@b.c",
            f"{smtp}HOST": "h",
            f"{smtp}PASSWORD": PASSWORD,
            f"{smtp}BUDGET": "10/s",
        }
    ).accounts["w"]
    assert account.smtp is not None
    assert "a@b.c" == account.smtp.username
    assert 10 == account.smtp.budget[0].count


def test_accounts_come_in_the_order_of_their_names() -> None:
    """So that `the first that can send` means the same in every environment."""
    environ = {
        f"POSTROOM_ACCOUNTS__{name}__{rest}": value
        for name in ("ZOE", "anna", "B_2")
        for rest, value in (("ADDRESS", "a@b.c"), ("SMTP__HOST", "h"))
    }
    assert ["anna", "b_2", "zoe"] == list(load(environ).accounts)


# --- sources --------------------------------------------------------------------------------------------------------


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("POSTROOM_TRACE=all\nPOSTROOM_LOG_LEVEL=debug\nOTHER=1\n")
    loaded = load({"POSTROOM_TRACE": "off"}, dotenv)
    assert ("off", "debug") == (loaded.trace, loaded.log_level)


def test_dotenv_values_are_taken_literally(tmp_path: Path) -> None:
    """`$` in a password is a dollar; a # within quotes is no comment."""
    dotenv = tmp_path / ".env"
    lines = {**POP3_ONLY, "POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD": "'a${HOME}$b #1'"}
    dotenv.write_text("".join(f"export {name} = {value}\n" for name, value in lines.items()))
    account = load({"HOME": "/wrong"}, dotenv).accounts["work"]
    assert account.pop3 is not None
    assert account.pop3.password is not None
    assert "a${HOME}$b #1" == account.pop3.password.read().reveal()


def test_a_password_s_blanks_are_kept() -> None:
    account = load(POP3_ONLY | {"POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD": " x "}).accounts["work"]
    assert account.pop3 is not None
    assert account.pop3.password is not None
    assert " x " == account.pop3.password.read().reveal()


def test_an_empty_value_is_as_good_as_none() -> None:
    loaded = load({"POSTROOM_TRACE": "", "POSTROOM_ACCOUNTS__WORK__POP3__HOST": " "})
    assert ("failures", {}) == (loaded.trace, dict(loaded.accounts))


def test_a_relative_password_file_is_a_credential_under_systemd(tmp_path: Path) -> None:
    environ = {name: value for name, value in POP3_ONLY.items() if not name.endswith("PASSWORD")}
    file = "POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD_FILE"
    for expected, name, extra, is_credential in (
        (tmp_path / "work", "work", {"CREDENTIALS_DIRECTORY": str(tmp_path)}, True),
        (tmp_path / "work", str(tmp_path / "work"), {"CREDENTIALS_DIRECTORY": str(tmp_path)}, True),
        (Path("/etc/work"), "/etc/work", {"CREDENTIALS_DIRECTORY": str(tmp_path)}, False),
        (Path("work"), "work", {}, False),
    ):
        account = load(environ | {file: name} | extra).accounts["work"]
        assert account.pop3 is not None
        assert account.pop3.password is not None
        assert (expected, is_credential) == (account.pop3.password.file, account.pop3.password.is_credential)


def test_a_password_command_is_split_as_a_shell_would() -> None:
    environ = {name: value for name, value in POP3_ONLY.items() if not name.endswith("PASSWORD")}
    account = load(environ | {"POSTROOM_ACCOUNTS__WORK__POP3__PASSWORD_COMMAND": "pass show 'mail work'"}).accounts[
        "work"
    ]
    assert account.pop3 is not None
    assert account.pop3.password is not None
    assert ("pass", "show", "mail work") == account.pop3.password.command


def test_systemd_s_variables_are_read() -> None:
    loaded = load({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "30000000"})
    assert ("/run/notify", 30.0) == (loaded.notify_socket, loaded.watchdog_seconds)
    assert load({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None


def test_where_to_listen_and_whom_to_ping_is_read() -> None:
    for text, expected in (
        ("127.0.0.1:9465", ("127.0.0.1", 9465)),
        ("[::1]:80", ("::1", 80)),
        ("/run/x", Path("/run/x")),
    ):
        assert expected == load({"POSTROOM_LISTEN": text}).listen
    loaded = load({"POSTROOM_PING_URL": "https://hc.example/s3cr3t"})
    assert ("https://hc.example/s3cr3t", False) == (loaded.ping_url, "s3cr3t" in repr(loaded))


def test_no_secret_is_shown() -> None:
    loaded = load(POP3_ONLY | {"POSTROOM_DATABASE_URL": f"postgresql://a:{PASSWORD}@h/n"})
    assert PASSWORD not in repr(loaded) + str(loaded.accounts)


# --- mistakes -------------------------------------------------------------------------------------------------------

WORK = "POSTROOM_ACCOUNTS__WORK__"


@pytest.mark.parametrize(
    ("expected", "environ"),
    [
        (
            "POSTROOM_TRACE takes off, failures or all, not 'failure' (did you mean failures?)",
            {"POSTROOM_TRACE": "failure"},
        ),
        (
            "POSTROOM_LISTEN takes a loopback address with a port, like 127.0.0.1:9465, or a path, not '0.0.0.0:9465' (nobody logs in there: let a proxy on this machine ask)",
            {"POSTROOM_LISTEN": "0.0.0.0:9465"},
        ),
        (
            "POSTROOM_LISTEN takes a loopback address with a port, like 127.0.0.1:9465, or a path, not 'localhost:9465' (an address in numbers is needed)",
            {"POSTROOM_LISTEN": "localhost:9465"},
        ),
        (
            "POSTROOM_LISTEN takes a loopback address with a port, like 127.0.0.1:9465, or a path, not '9465' (a path begins with /, and an address ends with :PORT)",
            {"POSTROOM_LISTEN": "9465"},
        ),
        ("POSTROOM_PING_URL takes an http:// or https:// address", {"POSTROOM_PING_URL": "ftp://ping.example/s3cr3t"}),
        ("POSTROOM_LOG_FORMAT takes console or json, not 'xml'", {"POSTROOM_LOG_FORMAT": "xml"}),
        (
            "POSTROOM_RETRY takes the first and the longest wait, like 1m..4h, not '4h..1m' (the first wait is longer than the longest one)",
            {"POSTROOM_RETRY": "4h..1m"},
        ),
        ("POSTROOM_TRACES is no setting of postroom; did you mean POSTROOM_TRACE?", {"POSTROOM_TRACES": "all"}),
        ("postroom_trace is no setting of postroom; did you mean POSTROOM_TRACE?", {"postroom_trace": "all"}),
        ("POSTROOM_DB_URL is no setting of postroom; did you mean POSTROOM_DATABASE_URL?", {"POSTROOM_DB_URL": "x"}),
        (
            "POSTROOM_X is no setting of postroom; an account's begin with POSTROOM_ACCOUNTS__<NAME>__; see .env.example",
            {"POSTROOM_X": ""},
        ),
        (
            f"{WORK}POP3__PASWORD is no setting of postroom; did you mean {WORK}POP3__PASSWORD?",
            {f"{WORK}POP3__PASWORD": PASSWORD},
        ),
        (f"{WORK}POP__HOST is no setting of postroom; did you mean {WORK}POP3__HOST?", {f"{WORK}POP__HOST": "h"}),
        (
            f"POSTROOM_ACCOUNTS_WORK_POP3_HOST is no setting of postroom; did you mean {WORK}POP3__HOST?",
            {"POSTROOM_ACCOUNTS_WORK_POP3_HOST": "h"},
        ),
        (
            f"POSTROOM_ACCOUNT__WORK__SMTP__HOST is no setting of postroom; did you mean {WORK}SMTP__HOST?",
            {"POSTROOM_ACCOUNT__WORK__SMTP__HOST": "h"},
        ),
        (
            "POSTROOM_ACCOUNTS__A-B__ADDRESS: an account's name is letters, digits and single underscores",
            {"POSTROOM_ACCOUNTS__A-B__ADDRESS": "a@b.c"},
        ),
        (
            f"{WORK}POP3__PORT takes a port number, not '99999' (it must be from 1 to 65535)",
            POP3_ONLY | {f"{WORK}POP3__PORT": "99999"},
        ),
        (
            f"{WORK}POP3__SECURITY takes tls, starttls or plaintext, not 'ssl'",
            POP3_ONLY | {f"{WORK}POP3__SECURITY": "ssl"},
        ),
        (
            f"{WORK}POP3__HOST takes a host name or an IP address, like pop.example.org, not 'pop3s://h' (leave pop3s:// away; SECURITY says how to connect)",
            POP3_ONLY | {f"{WORK}POP3__HOST": "pop3s://h"},
        ),
        (
            f"{WORK}POP3__POLL takes an interval like 5m, or five cron fields in UTC like */5 * * * *, not '5' (a unit is missing: 5s, 5m, 5h or 5d?)",
            POP3_ONLY | {f"{WORK}POP3__POLL": "5"},
        ),
        (
            f"{WORK}POP3__CA_FILE takes a readable PEM file of CA certificates, not '/nowhere' (No such file or directory)",
            POP3_ONLY | {f"{WORK}POP3__CA_FILE": "/nowhere"},
        ),
        (
            f"{WORK}ADDRESS takes a mail address, like anna@example.org, not 'Anna <a@b>' (the address alone, without a name)",
            POP3_ONLY | {f"{WORK}ADDRESS": "Anna <a@b>"},
        ),
        (
            f"{WORK}POP3__PASSWORD and {WORK}POP3__PASSWORD_FILE are set; set one of them",
            POP3_ONLY | {f"{WORK}POP3__PASSWORD_FILE": "x"},
        ),
        (
            f"{WORK}POP3__PASSWORD is missing; it takes the password (or set PASSWORD_FILE, PASSWORD_COMMAND or PASSWORD_KEYRING instead)",
            POP3_ONLY | {f"{WORK}POP3__PASSWORD": ""},
        ),
        (
            f"{WORK}POP3__FIRST takes all, new, or a day like since:2026-01-01, not 'since' (a date is missing: since:2026-01-01?)",
            POP3_ONLY | {f"{WORK}POP3__FIRST": "since"},
        ),
        (
            f"{WORK}POP3__DELETE takes never, after_fetch, an age like 14d, or a size like above:500M, not 'above' (a size is missing: above:500M?)",
            POP3_ONLY | {f"{WORK}POP3__DELETE": "above"},
        ),
        (
            f"{WORK}POP3__CLIENT_CERTIFICATE is missing; it takes a PEM file of our own certificate, for CLIENT_KEY",
            POP3_ONLY | {f"{WORK}POP3__CLIENT_KEY": "own.key"},
        ),
        (
            f"{WORK}POP3__CLIENT_CERTIFICATE is missing; it takes a PEM file of our own certificate, for AUTH=external",
            POP3_ONLY | {f"{WORK}POP3__AUTH": "external", f"{WORK}POP3__PASSWORD": ""},
        ),
        (
            f"{WORK}POP3__MAX_MESSAGE_OCTETS is missing; it takes a size like 26214400 or 25M, for OVERSIZE=headers",
            POP3_ONLY | {f"{WORK}POP3__OVERSIZE": "headers"},
        ),
        (
            f"{WORK}POP3__PASSWORD and {WORK}POP3__PASSWORD_KEYRING are set; set one of them",
            POP3_ONLY | {f"{WORK}POP3__PASSWORD_KEYRING": "x"},
        ),
        (
            f"{WORK}POP3__PROXY takes socks5://HOST:PORT, socks4:// or http://, with USER:PASSWORD@ if need be (the port is missing)",
            POP3_ONLY | {f"{WORK}POP3__PROXY": f"socks5://anna:{PASSWORD}@proxy.example"},
        ),
        (
            f"{WORK}POP3__HOST is missing; it takes a host name or an IP address, like pop.example.org",
            POP3_ONLY | {f"{WORK}POP3__HOST": ""},
        ),
        (
            f"{WORK}ADDRESS is missing; it takes a mail address, like anna@example.org",
            POP3_ONLY | {f"{WORK}ADDRESS": ""},
        ),
        (
            f"{WORK}POP3__HOST or {WORK}SMTP__HOST is missing; an account receives, or sends, or both",
            {f"{WORK}ADDRESS": "anna@example.org"},
        ),
        (
            f"{WORK}SMTP__PASSWORD is missing; it takes the password of USERNAME (or set PASSWORD_FILE, PASSWORD_COMMAND or PASSWORD_KEYRING instead)",
            POP3_ONLY | {f"{WORK}SMTP__HOST": "h", f"{WORK}SMTP__USERNAME": "u"},
        ),
        (
            f"{WORK}POP3__PASSWORD_COMMAND takes a command that prints the password (a quotation mark is not closed)",
            {**POP3_ONLY, f"{WORK}POP3__PASSWORD": "", f"{WORK}POP3__PASSWORD_COMMAND": f"echo '{PASSWORD}"},
        ),
        (
            "POSTROOM_ACCOUNTS__WORK__… and POSTROOM_ACCOUNTS__Work__… are the same account, work; spell it in one way",
            POP3_ONLY | {"POSTROOM_ACCOUNTS__Work__SMTP__HOST": "h"},
        ),
        (
            "POSTROOM_DATABASE_URL takes sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME (mysql is not one of them)",
            {"POSTROOM_DATABASE_URL": f"mysql://a:{PASSWORD}@h/n"},
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_variable_and_what_it_takes(
    expected: str, environ: dict[str, str]
) -> None:
    found = mistakes(environ)
    assert [expected] == found
    assert PASSWORD not in "".join(found)


def test_all_mistakes_are_told_at_once() -> None:
    found = mistakes(
        {"POSTROOM_TRACE": "x", f"{WORK}POP3__PORT": "0", f"{WORK}SMTP__SECURITY": "none", "POSTROOM_Y": "1"}
    )
    assert [
        "POSTROOM_Y",
        "POSTROOM_TRACE",
        f"{WORK}ADDRESS",
        f"{WORK}POP3__PORT",
        f"{WORK}POP3__HOST",
        f"{WORK}POP3__PASSWORD",
        f"{WORK}SMTP__HOST",
        f"{WORK}SMTP__SECURITY",
    ] == [line.split()[0] for line in found]


def test_a_mistake_in_dotenv_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("# house\n\nPOSTROOM_TRACE=loud\nPOSTROOM_TRICE=1\n")
    expected = [
        "POSTROOM_TRICE (.env line 4) is no setting of postroom; did you mean POSTROOM_TRACE?",
        "POSTROOM_TRACE (.env line 3) takes off, failures or all, not 'loud'",
    ]
    assert expected == mistakes({}, Path(".env"))


@pytest.mark.parametrize("line", ["POSTROOM_TRACE='all", "POSTROOM_TRACE"])
def test_a_line_of_dotenv_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"A=1\n\n{line}\n")
    assert [
        f"{dotenv} line 3 can't be read; a line is NAME=value, with 'quotes' around a value with spaces or #"
    ] == mistakes({}, dotenv)


def test_a_dotenv_in_another_encoding_is_a_mistake(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"A=\xff\xfe\n")
    assert [f"{dotenv} can't be read: it is not UTF-8"] == mistakes({}, dotenv)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_bytes(b"\xef\xbb\xbfPOSTROOM_TRACE=all\r\n")
    assert "all" == load({}, dotenv).trace


def test_a_long_value_is_shown_shortened() -> None:
    assert 160 > len(mistakes({"POSTROOM_TRACE": "x" * 5000})[0])


# --- .env.example ---------------------------------------------------------------------------------------------------


def _names_of_example() -> set[str]:
    lines = EXAMPLE.read_text().splitlines()
    return {line.lstrip("#").partition("=")[0] for line in lines if line.lstrip("#").startswith("POSTROOM_")}


def test_the_example_shows_every_setting_and_no_other() -> None:
    expected = {variables.PREFIX + one.name for one in variables.HOUSE}
    expected |= {WORK + name for name in variables.ACCOUNT}
    assert expected == _names_of_example()


def test_the_example_can_be_used_as_it_stands() -> None:
    assert ["work"] == list(settings.load({}, EXAMPLE).accounts)


@pytest.mark.parametrize(
    "line", [line[1:] for line in EXAMPLE.read_text().splitlines() if line.startswith("#POSTROOM_") and line[-1] != "="]
)
def test_each_value_of_the_example_is_allowed(tmp_path: Path, line: str) -> None:
    """With the file that it names made, and the other places of the password taken away."""
    name, _, value = line.partition("=")
    environ_more: dict[str, str] = {}
    for end, other, its in (
        ("CLIENT_KEY", "CLIENT_CERTIFICATE", "own.pem"),
        ("DKIM_KEY_FILE", "DKIM_SELECTOR", "mail"),
        ("DKIM_SELECTOR", "DKIM_KEY_FILE", "dkim.pem"),
    ):
        if name.endswith(end):
            environ_more[name.removesuffix(end) + other] = its
    if name.endswith("CA_FILE"):
        (tmp_path / "ca.pem").touch()
        value = str(tmp_path / "ca.pem")
    environ = {name: value, **environ_more}
    if "PASSWORD_" in name:
        environ[name.rpartition("_")[0]] = ""
    settings.load(environ, EXAMPLE)


def test_mail_is_not_sent_on_to_the_account_itself() -> None:
    (line,) = mistakes({f"{WORK}FORWARD": "Anna@example.org"}, EXAMPLE)
    assert line == f"{WORK}FORWARD is the account's own address; it takes another one"


def test_the_defaults_of_the_example_are_the_defaults() -> None:
    """What stands behind a # is what holds without it, where the text says that it is the default."""
    plain = settings.load({}, EXAMPLE)
    wanted = (
        "RETRY",
        "KEEP_POLLS",
        "TRACE",
        "LOG_LEVEL",
        "POP3__POLL",
        "POP3__FIRST",
        "POP3__DELETE",
        "POP3__OVERSIZE",
        "POP3__SECURITY",
        "POP3__PORT",
        "POP3__TIMEOUT",
        "SMTP__PORT",
        "SMTP__TIMEOUT",
        "SMTP__PROTOCOL",
        "SMTP__NOTIFY",
        "SMTP__VERP",
        "SMTP__SUPPRESS_BOUNCES",
    )
    lines = [line[1:] for line in EXAMPLE.read_text().splitlines() if line.startswith("#POSTROOM_")]
    chosen = [line for line in lines if line.partition("=")[0].removeprefix(WORK).removeprefix("POSTROOM_") in wanted]
    assert len(wanted) == len(chosen)
    for line in chosen:
        name, _, value = line.partition("=")
        assert plain == settings.load({name: value}, EXAMPLE), line


# --- another file than .env -----------------------------------------------------------------------------------------


def test_the_environment_names_the_file_to_read(tmp_path: Path) -> None:
    file = tmp_path / "postroom.env"
    file.write_text("POSTROOM_TRACE=all\nPOSTROOM_RETRY=soon\n", encoding="utf-8")
    (line,) = mistakes({"POSTROOM_ENV_FILE": str(file)}, EXAMPLE)
    assert line.startswith(f"POSTROOM_RETRY ({file} line 2) takes")
    file.write_text("POSTROOM_TRACE=all\n", encoding="utf-8")
    assert ("all", {}) == ((loaded := load({"POSTROOM_ENV_FILE": str(file)}, EXAMPLE)).trace, dict(loaded.accounts))


def test_a_named_file_must_be_there_and_names_no_other(tmp_path: Path) -> None:
    file = tmp_path / "postroom.env"
    (line,) = mistakes({"POSTROOM_ENV_FILE": str(file)})
    assert f"POSTROOM_ENV_FILE takes a readable file of settings, and {file} is none" == line
    file.write_text("POSTROOM_ENV_FILE=/etc/other.env\n", encoding="utf-8")
    (line,) = mistakes({"POSTROOM_ENV_FILE": str(file)})
    assert "is set in the environment, not in the file that it names" in line
