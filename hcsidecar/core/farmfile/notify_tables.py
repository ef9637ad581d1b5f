"""The receivers of notifications in the farm file, one model for each kind; each docstring becomes a key's text."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hcsidecar.core.farmfile.tables import Table
from hcsidecar.core.farmfile.values import LAST_PORT, NameValue, Seconds, Text, as_toml, between, each_once, wrong
from hcsidecar.core.notify.template import JsonError, template_in
from hcsidecar.core.notify.web_address import is_this_machine, sends_in_clear, why_not_url

_SERVER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*")
_HEADER = re.compile(r"[A-Za-z0-9-]+: [!-~ ]*\{token\}[!-~ ]*")
MAX_RECEIVERS = 8


def _url(value: str) -> str:
    if why := why_not_url(value):
        raise wrong(f"{why}: {as_toml(value)}", 'for example "https://alerts.example.com/farm"; secrets: url_file')
    return value


def _server(value: str) -> str:
    match = _SERVER.fullmatch(value)
    if match is None or not 1 <= int(match[2]) <= LAST_PORT:
        raise wrong(f"is not a mail server and its port: {as_toml(value)}", 'for example "mail.example.com:587"')
    return value


def _mail_address(value: str) -> str:
    if _MAIL_ADDRESS.fullmatch(value) is None:
        raise wrong(f"is not a mail address: {as_toml(value)}", 'for example "operators@example.com"')
    return value


def _header(value: str) -> str:
    if _HEADER.fullmatch(value) is None:
        raise wrong(f"is not a header with {{token}} in it: {as_toml(value)}", 'for example "X-Api-Key: {token}"')
    return value


def _template(value: str) -> str:
    hint = """for example '{"text": "{text}"}'"""
    try:
        template_in(value)
    except JsonError as error:
        raise wrong(f"is not JSON: {error}", hint) from None
    except ValueError as error:
        raise wrong(str(error), hint) from None
    return value


MailAddress = Annotated[Text, AfterValidator(_mail_address)]
"The address of a mailbox."


class Receiver(Table):
    """The keys that all receivers of notifications have."""

    type: str
    "Kind of receiver."
    name: NameValue | None = Field(default=None, examples=["operators"])
    "Name of the receiver in the log and in `status`. Default: its type."
    events: Literal["error", "warning", "none"] = "error"
    "The lowest level of the events that are told."
    states: bool = Field(default=True, strict=True)
    "Tell changes of nodes: a new state of the application, dead, has left, is heard again."
    group: Annotated[Seconds, AfterValidator(between("0s", "1h"))] = 60.0
    "Time for which notifications are gathered into one message, from the first of them on."
    timeout: Annotated[Seconds, AfterValidator(between("1s", "1m"))] = 10.0
    "Time after which an attempt to send a message has failed."
    ca_file: Text | None = Field(default=None, examples=["tls/ca.crt"])
    """PEM file with the certificate authority of the receiver's certificate; relative to this file. Default: those that
    the machine trusts."""

    @property
    def label(self) -> str:
        """The name in the log and in reports."""
        return self.name or self.type

    @property
    def files(self) -> Mapping[str, str]:
        """The files that it names, by key."""
        named = {"ca_file": self.ca_file, "url_file": None, "token_file": None, "login_file": None}
        named |= {key: getattr(self, key) for key in named if hasattr(self, key)}
        return {key: name for key, name in named.items() if name is not None}


class WebhookReceiver(Receiver):
    """A web service that takes notifications: a chat system, or one that wakes people."""

    type: Literal["webhook"] = Field(examples=["webhook"])
    "Sends a POST request with JSON. An answer with status 200 to 299 means that it was taken."
    url: Annotated[Text, AfterValidator(_url)] | None = Field(
        default=None, examples=["https://alerts.example.com/farm"]
    )
    "URL of the web service."
    url_file: Text | None = Field(default=None, examples=["notify.url"])
    "Instead of `url`: file that contains it, for a URL that is a secret itself; relative to this file."
    token_file: Text | None = Field(default=None, examples=["notify.token"])
    "File that contains a token, which is sent in a header; relative to this file."
    header: Annotated[Text, AfterValidator(_header)] = "Authorization: Bearer {token}"
    "With token_file: the header with the token."
    template: Annotated[Text, AfterValidator(_template)] | None = Field(default=None, examples=['{"text": "{text}"}'])
    """The JSON to send, with {text}, {subject}, {farm} and {node} in its texts; the example suits Mattermost and Slack.
    Default: an object with all details."""

    @model_validator(mode="after")
    def _know_where(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            if self.url is None:
                raise wrong("is missing", 'for example url = "https://alerts.example.com/farm", or url_file', at="url")
            raise wrong("cannot be combined with `url`", "one of the two", at="url_file")
        if self.url is not None and self.token_file is not None and sends_in_clear(self.url):
            raise wrong("would send the token without TLS", "a URL of https", at="url")
        return self


class MailReceiver(Receiver):
    """A mail server."""

    type: Literal["mail"] = Field(examples=["mail"])
    "Sends mail by SMTP. Mail that the server has accepted counts as taken."
    server: Annotated[Text, AfterValidator(_server)] = Field(examples=["mail.example.com:587"])
    "Name or address of the mail server, and its TCP port."
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """Starttls: begin in clear and go on with TLS, as on port 587. Tls: TLS from the first byte, as on port 465. None:
    only for a mail server on the machine itself."""
    login_file: Text | None = Field(default=None, examples=["notify.login"])
    "File with the user on its first line and the password on its second; relative to this file. Default: no login."
    sender: MailAddress = Field(examples=["farm@example.com"])
    "Address that the mail comes from."
    to: Annotated[
        tuple[MailAddress, ...],
        Field(min_length=1, max_length=16, examples=[["operators@example.com"]]),
        AfterValidator(each_once),
    ]
    "Addresses that the mail goes to."

    @model_validator(mode="after")
    def _send_nothing_in_clear(self) -> Self:
        if self.tls == "none" and not is_this_machine(self.server.rpartition(":")[0]):
            raise wrong("is only for a mail server on the machine itself", "starttls or tls", at="tls")
        return self


RECEIVERS: Mapping[str, type[Receiver]] = {"webhook": WebhookReceiver, "mail": MailReceiver}
"The model of each type."
AnyReceiver = Annotated[WebhookReceiver | MailReceiver, Field(discriminator="type")]
"A receiver of any kind; `type` decides which."
