"""Which targets may be connected to: every spelling of fault D5, and what the allow-list opens."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from northbound.logic.addresses import ADVICE, AllowList, check_address, check_url
from northbound.model.errors import BlockedAddress, ConfigError

NOTHING = AllowList()
steady = settings(deadline=None, derandomize=True)  # a busy machine is no failure

SPELLINGS = [
    # loopback and its IPv4 spellings: decimal, octal, hex, short, mixed, padded
    "http://127.0.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0X7F000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.0x1/",
    "http://127.000.000.001/",
    "http://0/",
    "http://0x/",
    "http://256.256.256.256/",
    "http://1.2.3.4.5/",
    "http://00000000000000000000000000000000127.0.0.1/",
    # even a public address must be spelled plainly
    "http://134744072/",
    "http://0x08.8.8.8/",
    "http://8.8.8.010/",
    "http://8.8.2056/",
    # IPv6: loopback, unspecified, mapped, compatible, translated, NAT64 (both prefixes), 6to4, Teredo, ISATAP
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[64:ff9b:1:ffff::10.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[2a00:1450::5efe:127.0.0.1]/",
    "http://[2a00:1450::200:5efe:a00:1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[2606:4700::1%1]/",
    "http://[fc00::1]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[100::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[5f00::1]/",
    "http://[v1.fe80]/",
    "http://[127.0.0.1]/",
    "http://[]/",
    "http://[::1/",
    "http://::1/",
    # private, shared, reserved, multicast, broadcast
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://100.127.255.255/",
    "http://169.254.1.1/",
    "http://192.0.0.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    # metadata, v4 and v6
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/",
    "http://[fd00:ec2::254]/",
    "http://[fd20:ce::254]/",
    # names of this host, trailing dots, user-info, backslash, control characters
    "http://localhost/",
    "http://LOCALHOST:8080/",
    "http://a.localhost/",
    "http://localhost./",
    "http://127.0.0.1./",
    "http://example.com./",
    "http://example..com/",
    "http://.example.com/",
    "http://./",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://@example.com/",
    "http://example.com\\@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http://example.com/a\\b",
    "http://example.com/\r\nHost: x",
    "http://example.com/\x00",
    "http://exam\tple.com/",
    " http://example.com/",
    "http://example.com/ ",
    "http://example.com /",
    "http://example.com/\x7f",
    "http://example.com/\x85",
    "http://example.com/\u2028",
    # percent-encoded and non-ASCII hosts: full-width digits, circled digits, other dots
    "http://%31%32%37.0.0.1/",
    "http://127%2e0.0.1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://ex\u00e4mple.com/",
    # schemes
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "//example.com/",
    "example.com/hook",
    "http:/example.com/",
    "http:example.com",
    "http:///example.com/",
    "http://",
    "https://?x",
    "",
    # ports
    "http://example.com:0/",
    "http://example.com:00/",
    "http://example.com:080/",
    "http://example.com:65536/",
    "http://example.com:99999999999/",
    "http://example.com:/",
    "http://example.com:-1/",
    "http://example.com:80:80/",
    "http://example.com:8a/",
    "http://example.com:\u0668\u0660/",
    "http://[2606:4700::1]x:80/",
    "http://" + "a." * 130 + "com/",
    "http://" + "a" * 64 + ".com/",
    "http://example.com/" + "a" * 65_536,
]

PLAIN = [
    "http://example.com/",
    "https://example.com:8443/hook?a=1&b=%20#x",
    "HTTPS://Example.COM",
    "http://a_b.example.com/@user",
    "http://xn--fsqu00a.xn--0zwm56d/",
    "http://8.8.8.8:1/",
    "http://[2606:4700::1111]:65535/x?y",
    "http://1.example.com/",
    "http://intranet/",
    "http://example.com/\u8def\u5f84",
]


@pytest.mark.parametrize("url", SPELLINGS)
def test_every_spelling_is_refused_with_the_same_advice(url: str) -> None:
    """D5: whatever the trick, the refusal is the same class and tells the same way out."""
    with pytest.raises(BlockedAddress) as refused:
        check_url(url, NOTHING)

    assert refused.value.message.startswith("blocked address: ")
    assert refused.value.message.endswith(ADVICE)
    assert "allow_targets" in refused.value.message
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("url", PLAIN)
def test_a_plain_public_url_passes(url: str) -> None:
    """Names pass too: what they resolve to is judged at connect."""
    check_url(url, NOTHING)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.100.100.200", "0.0.0.0", "::", "::1", "fd00:ec2::254"),
        *("::ffff:8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::808:808", "2002:808:808::", "fe80::1%2", "2606:4700::1%2"),
        *("example.com", "", "0177.0.0.1", "8.8.8.8.", "8.8.8.8 ", "2130706433", "[::1]"),
    ],
)
def test_connecting_is_decided_on_the_address(host: str) -> None:
    """D4: a name that answers something else at connect is caught here; a name itself is no address."""
    with pytest.raises(BlockedAddress, match="allow_targets"):
        check_address(host, 80, NOTHING)


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(BlockedAddress):
        check_address("8.8.8.8", port, NOTHING)


@pytest.mark.parametrize("host", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_pass(host: str) -> None:
    check_address(host, 443, NOTHING)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:7099", "http://127.0.0.1:7099/x"),
        ("127.0.0.1", "http://127.0.0.1:7099/x"),
        ("127.0.0.0/8", "http://127.9.9.9/"),
        ("127.0.0.0/8", "http://localhost:8080/"),
        ("10.1.0.0/16", "https://10.1.255.1/"),
        ("10.1.0.0/16:8443", "https://10.1.255.1:8443/"),
        ("localhost:8080", "http://localhost:8080/"),
        ("localhost:8080", "http://127.0.0.1:8080/"),
        ("localhost:8080", "http://[::1]:8080/"),
        ("LocalHost", "http://a.localhost/"),
        ("[::1]:7099", "http://[::1]:7099/"),
        ("::1", "http://[::1]/"),
        ("fd00::/8", "http://[fd12::1]/"),
        ("[fd00::/8]:80", "http://[fd12::1]/"),
        ("64:ff9b::/96", "http://[64:ff9b::8.8.8.8]/"),
        ("169.254.169.254", "http://169.254.169.254/"),
        ("::ffff:127.0.0.1", "http://[::ffff:127.0.0.1]/"),
        (" 127.0.0.1:80 ", "http://127.0.0.1/"),
    ],
)
def test_an_entry_opens_what_it_names(entry: str, url: str) -> None:
    check_url(url, AllowList.parse([entry]))


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:7099", "http://127.0.0.1:7098/"),
        ("127.0.0.1:7099", "http://2130706433:7099/"),
        ("127.0.0.1:7099", "http://[::ffff:127.0.0.1]:7099/"),
        ("127.0.0.1:7099", "http://localhost:80/"),
        ("10.1.0.0/16", "http://10.2.0.1/"),
        ("localhost:8080", "http://localhost/"),
        ("169.254.0.0/16", "http://169.254.169.254/"),
        ("0.0.0.0/0", "http://169.254.169.254/"),
        ("0.0.0.0/0", "http://0.0.0.0/"),
        ("100.64.0.0/10", "http://100.100.100.200/"),
        ("fd00::/8", "http://[fd00:ec2::254]/"),
        ("::/0", "http://[::ffff:127.0.0.1]/"),
        ("::/0", "http://[64:ff9b::127.0.0.1]/"),
        ("::/0", "http://[2002:7f00:1::]/"),
        ("::/0", "http://127.0.0.1/"),
    ],
)
def test_an_entry_opens_nothing_else(entry: str, url: str) -> None:
    """Other ports and spellings stay shut, and a broad network opens neither metadata nor disguised addresses."""
    with pytest.raises(BlockedAddress):
        check_url(url, AllowList.parse([entry]))


@pytest.mark.parametrize(
    "entry",
    [
        *("", "*", "example.com", "example.com:80", "127.0.0.1:0", "127.0.0.1:", "127.0.0.1:99999", "10.1.2.3/16"),
        *("127.1", "10.0.0.0/33", "[::1", "[::1]80", "[]:80", "http://127.0.0.1", "fe80::1%eth0/64", "::1:zz"),
    ],
)
def test_an_unusable_entry_is_a_config_error(entry: str) -> None:
    with pytest.raises(ConfigError, match="allow_targets entry") as refused:
        AllowList.parse([entry])

    assert refused.value.field == "allow_targets"


def test_the_list_is_bounded() -> None:
    with pytest.raises(ConfigError, match="1000"):
        AllowList.parse(["127.0.0.1"] * 1001)


@steady
@given(st.text(max_size=80) | st.text(max_size=60).map(lambda text: f"http://{text}/"))
def test_no_text_fails_otherwise(url: str) -> None:
    """Any text either passes or is a blocked address, never another error."""
    with contextlib.suppress(BlockedAddress):
        check_url(url, NOTHING)


@steady
@given(st.ip_addresses(), st.integers(1, 65_535))
def test_what_passes_as_a_url_passes_at_connect(address: object, port: int) -> None:
    """The two guards agree on every address."""
    host = f"[{address}]" if ":" in str(address) else str(address)

    def passes(check: object, *given: object) -> bool:
        try:
            check(*given)  # type: ignore[operator]
        except BlockedAddress:
            return False
        return True

    assert passes(check_url, f"http://{host}:{port}/", NOTHING) == passes(check_address, str(address), port, NOTHING)
