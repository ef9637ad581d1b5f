"""Sends one message: a process of its own, `python -m hcsidecar.notify.send`, with an `Order` on standard input.

It writes an `SendOutcome` to standard output. No text of an outcome contains a secret.
"""

import http.client
import os
import signal
import smtplib
import socket
import ssl
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn
from urllib.parse import urlsplit

import msgspec

from hcsidecar.core.notify.web_address import sends_in_clear, why_not_url
from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.notify.order import Order, SendOutcome
from hcsidecar.system.privileges import give_up_powers
from hcsidecar.system.secret_file import secret_lines

_MEMORY: Final = 256 * 1_048_576
"Bytes of memory at most, whatever a server answers."
_ANSWER: Final = 2000
"Bytes read of an answer, for its reason."
_LONGEST: Final = 200
"Characters of a reason."
_LOGIN_LINES: Final = 2
_OK: Final = range(200, 300)


class _RefusedError(Exception):
    """The receiver does not take the message, or its files cannot be used; the text says why."""


Secrets = dict[str, list[str] | ValueError]
"The lines of each file with a secret, by its name in the farm file, or why it cannot be used."


def secrets_of(order: Order) -> Secrets:
    """Read the files with secrets, which perhaps only root can read."""
    found: Secrets = {}
    for name in (order.url_file, order.token_file, order.login_file):
        if name is not None:
            try:
                found[name] = secret_lines(Path(order.directory) / name)
            except ValueError as error:
                found[name] = error
    return found


def send(order: Order, secrets: Secrets) -> SendOutcome:
    """Send the message. Every failure that others cause is an outcome."""
    try:
        note = _post(order, secrets) if order.type == "webhook" else _mail(order, secrets)
        return SendOutcome(taken=True, text=_without(secrets, note))
    except TimeoutError:
        why = _no_answer(order)
    except ssl.SSLCertVerificationError as error:
        why = f"its certificate is not accepted: {error.verify_message} (ca_file names another authority)"
    except ssl.SSLError as error:
        why = f"no TLS connection: {error.reason or error}"
    except socket.gaierror as error:
        why = f"its name is not found: {error.strerror}"
    except smtplib.SMTPAuthenticationError as error:
        why = f"the login is refused: {_smtp(error.smtp_code, error.smtp_error)}"
    except smtplib.SMTPRecipientsRefused as error:
        why = f"refuses the mail: {_refused(error.recipients)}"
    except smtplib.SMTPResponseException as error:
        why = f"refuses the mail: {_smtp(error.smtp_code, error.smtp_error)}"
    except (smtplib.SMTPServerDisconnected, http.client.RemoteDisconnected) as error:
        # smtplib wraps whatever ends a connection.
        out_of_time = isinstance(error.__context__, TimeoutError)
        why = _no_answer(order) if out_of_time else "closed the connection without an answer"
    except (smtplib.SMTPException, http.client.HTTPException) as error:
        why = f"answers what is not understood: {type(error).__name__}: {error}"
    except OSError as error:
        why = (error.strerror or str(error)).lower()
    except (_RefusedError, ValueError) as error:
        why = str(error)
    return SendOutcome(taken=False, text=_without(secrets, why))


def _no_answer(order: Order) -> str:
    return f"no answer within {order.timeout:g} s"


def _post(order: Order, secrets: Secrets) -> str:
    url = order.url or ""
    if order.url_file is not None:
        url = _lines(secrets, order.url_file)[0]
        if why := why_not_url(url):
            raise _RefusedError(f"the file {order.url_file} {why.replace('has', 'has a URL that has', 1)}")
    headers = {"Content-Type": "application/json", "User-Agent": "hcsidecar"}
    if order.token_file is not None:
        if sends_in_clear(url):
            raise _RefusedError("the token would be sent without TLS: use a URL of https")
        name, _, value = order.header.partition(": ")
        headers[name] = value.replace("{token}", _lines(secrets, order.token_file)[0])
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=order.timeout, context=_tls(order))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=order.timeout)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("POST", path, msgspec.json.encode(order.document), headers)
    answer = connection.getresponse()
    if answer.status not in _OK:
        reason = on_one_line(answer.read(_ANSWER).decode(errors="replace"))
        said = f": {shortened(reason, _LONGEST)}" if reason else ""
        raise _RefusedError(f"answers {answer.status} {answer.reason}{said}")
    return ""


def _mail(order: Order, secrets: Secrets) -> str:
    mail = EmailMessage()
    mail["Subject"] = on_one_line(order.subject)
    mail["From"], mail["To"] = order.sender, ", ".join(order.to)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=order.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{order.text}\n\n-- \nhcsidecar, farm {order.farm}, sent by {order.node}\n")
    host, _, port = order.server.rpartition(":")
    host, here = host.strip("[]"), socket.gethostname()
    server: smtplib.SMTP
    if order.tls == "tls":
        server = smtplib.SMTP_SSL(host, int(port), local_hostname=here, timeout=order.timeout, context=_tls(order))
    else:
        server = smtplib.SMTP(host, int(port), local_hostname=here, timeout=order.timeout)
    with server:
        if order.tls == "starttls":
            server.starttls(context=_tls(order))
        if order.login_file is not None:
            login = _lines(secrets, order.login_file)
            if len(login) != _LOGIN_LINES:
                raise _RefusedError(f"the file {order.login_file} must have two lines: the user and the password")
            server.login(*login)
        refused = server.send_message(mail, order.sender, list(order.to))
    return f"refuses some addresses: {_refused(refused)}" if refused else ""


def _tls(order: Order) -> ssl.SSLContext:
    """Return a context that verifies the server and its name."""
    if order.ca_file is None:
        return ssl.create_default_context()
    path = Path(order.directory) / order.ca_file
    try:
        return ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise _RefusedError(f"the file {path} has no certificate that can be read: {error.strerror}") from None


def _lines(secrets: Secrets, name: str) -> list[str]:
    found = secrets[name]
    if isinstance(found, ValueError):
        raise found
    return found


def _without(secrets: Secrets, text: str) -> str:
    """Return a reason without the secrets that a server may have quoted in it."""
    words = [line for lines in secrets.values() if isinstance(lines, list) for line in lines]
    words += [urlsplit(word).path for word in words if why_not_url(word) is None]
    for word in sorted((word for word in words if len(word) > 1), key=len, reverse=True):
        text = text.replace(word, "…")
    return shortened(on_one_line(text), _LONGEST)


def _smtp(code: int, said: object) -> str:
    return f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"


def _refused(recipients: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(f"{name} ({_smtp(code, said)})" for name, (code, said) in recipients.items())


def _out_of_time(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeoutError


def main() -> None:
    """Carry out the order on standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    secrets = secrets_of(order)
    give_up_powers(memory=_MEMORY)
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, order.timeout)
    outcome = send(order, secrets)
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.write(1, msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
