"""Who may reach the instance's ports: single addresses only, each added once and taken away by whoever added it."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aws_server import AwsServer
from servers import free_port, serving

from wms_ops.base.errors import CloudError
from wms_ops.targets.aws import access
from wms_ops.targets.aws.access import VARIABLE, allow, caller_address, revoke

pytest_plugins = ["aws_fixtures"]

PORTS = (5000, 8000)
ANA, RUNNER = "203.0.113.7", "198.51.100.9"


@pytest.fixture
def group(aws: AwsServer) -> str:
    made = aws.client("ec2").create_security_group(GroupName="wms-main", Description="x")
    return str(made["GroupId"])


def rules(aws: AwsServer, group: str) -> set[tuple[int, str]]:
    """(port, address) of what is let in."""
    found = aws.client("ec2").describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    assert all(one["FromPort"] == one["ToPort"] and one["IpProtocol"] == "tcp" for one in found)
    return {(one["FromPort"], ranges["CidrIp"]) for one in found for ranges in one["IpRanges"]}


def test_each_takes_away_what_it_added(aws: AwsServer, group: str) -> None:
    ec2 = aws.client("ec2")
    allow(ec2, group, ANA, PORTS, "ana@laptop")
    allow(ec2, group, ANA, PORTS, "ana@laptop")
    allow(ec2, group, RUNNER, PORTS, "github/team/meters/1 on a runner")
    both = {(port, f"{address}/32") for port in PORTS for address in (ANA, RUNNER)}
    assert rules(aws, group) == both
    assert revoke(ec2, group, "nobody") == 0 and rules(aws, group) == both
    assert revoke(ec2, group, "github/team/meters/1 on a runner") == 2
    assert rules(aws, group) == {(port, f"{ANA}/32") for port in PORTS}
    assert revoke(ec2, group) == 2 and revoke(ec2, group) == 0
    assert rules(aws, group) == set()
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissionsEgress"]


def test_names_that_aws_would_refuse(aws: AwsServer, group: str) -> None:
    ec2 = aws.client("ec2")
    who = 'ana"söder"@<laptop>\n' + 300 * "x"
    allow(ec2, group, ANA, PORTS, who)
    found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
    texts = {ranges["Description"] for one in found for ranges in one["IpRanges"]}
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=&;{}!$*")
    assert texts and all(set(text) <= allowed and len(text) <= 255 for text in texts)
    assert revoke(ec2, group, who) == 2


def test_the_address_that_is_given() -> None:
    assert caller_address({VARIABLE: f" {ANA}\n"}) == ANA


@pytest.mark.parametrize("text", ["0.0.0.0", "10.0.0.0/8", "203.0.113.7/32", "laptop", "2001:db8::1", "1.2.3"])  # noqa: S104
def test_an_address_that_opens_too_much_or_is_none(text: str) -> None:
    with pytest.raises(CloudError, match=rf"^{VARIABLE} gives .*; set {VARIABLE} to yours\.$"):
        caller_address({VARIABLE: text})


class Teller:
    """Answers one request with exactly these bytes."""

    def __init__(self) -> None:
        self.answer = b""
        teller = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.wfile.write(teller.answer)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Teller]:
    teller = Teller()
    monkeypatch.setattr(access, "_ASK", f"http://127.0.0.1:{teller.server.server_port}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(teller.server):
        yield teller


def answer(body: str) -> bytes:
    return f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_the_address_that_aws_sees(teller: Teller) -> None:
    teller.answer = answer(f"{ANA}\n")
    assert caller_address({}) == ANA
    assert caller_address({VARIABLE: RUNNER}) == RUNNER


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer("<html>Log in to the hotel's network first</html>"), 'gives "<html>'),
        (answer("0.0.0.0"), "would open the ports to the world"),  # noqa: S104
        (answer(""), "gives ''"),
        (b"HTTP/1.0 503 Busy\r\nContent-Length: 0\r\n\r\n", "can't be found"),
        (b"SSH-2.0-OpenSSH\r\n", "can't be found"),
        (b"", "can't be found"),
    ],
)
def test_an_answer_that_is_no_address(teller: Teller, said: bytes, words: str) -> None:
    teller.answer = said
    assert_told(words)


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_ASK", f"http://127.0.0.1:{free_port()}/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert_told("check the network")


def assert_told(words: str) -> None:
    with pytest.raises(CloudError) as caught:
        caller_address({})
    text: Any = str(caught.value)
    assert words in text and VARIABLE in text and "\n" not in text
