"""URLs that want to lead us elsewhere; `{port}` is where a listener counts who comes.

Gathered from what other webhook senders were once caught with: other spellings of an address,
addresses inside addresses, two parsers that read one URL differently, and paths that climb.
"""

# ruff: noqa: SIM905 - words as people read them; nothing listens here

from typing import Final

_LOOPBACK: Final = """
127.0.0.1 127.1 127.0.1 127.0.0.2 127.255.255.254 127.000.000.001 0127.0.0.1 127.0.0.1.
127.0.0.1.. 0177.0.0.1 0177.0.0.01 00177.0.0.1 0x7f.0.0.1 0x7F.0x0.0x0.0x1 0x7f.1 0x7f000001
0x7F000001 2130706433 02130706433 017700000001 4294967296 4294967297 0 0x0 00000000 0.0.0.0 0.0
0.0.0.1 [::] [::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0.0.0.1]
[::127.0.0.1] [::7f00:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1]
[0:0:0:0:0:ffff:127.0.0.1] [::ffff:0.0.0.0] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1]
[64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] [2002:7f00:0001::1]
[2001:0:7f00:1::80ff:fffe] [2001::80ff:fffe] [fe80::5efe:127.0.0.1] [2001:db8::200:5efe:7f00:1]
[::1%25lo] [::1%lo] [::1].example localhost LOCALHOST LocalHost localhost. localhost.localdomain
app.localhost ip6-localhost 127.0.0.1.nip.example spoofed.example 1\uff0e127.0.0.1
127\u30020\u30020\u30021 \uff11\uff12\uff17.0.0.1 \u2460\u2461\u2466.0.0.1 127.0.0.\u2460
l\u2092calhost \uff4cocalhost loc%61lhost 127.0.0.1%2f 127%2e0%2e0%2e1 %31%32%37.0.0.1 [%3a%3a1]
127.0.0.1%00 127.0.0.1%09
""".split()
_METADATA: Final = """
169.254.169.254 169.254.43518 2852039166 0xa9fea9fe 0251.0376.0251.0376 0xa9.0xfe.0xa9.0xfe
169.254.170.2 169.254.0.1 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::169.254.169.254]
[2002:a9fe:a9fe::] [fd00:ec2::254] [fd00:ec2::23] [fd20:ce::254] 100.100.100.200 168.63.129.16
192.0.0.192 [fe80::1] [fe80::a9fe:a9fe] [fe80::1%25eth0]
""".split()
_NOT_PUBLIC: Final = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1
100.127.255.255 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 [::ffff:10.0.0.1] [::ffff:192.168.0.1]
[64:ff9b::10.0.0.1] [2002:a00:1::] [fc00::1] [fd12:3456::1] [fec0::1] [ff02::1] [ff05::1:3]
[100::1] [2001:db8::1] [3fff::1] [5f00::1] [2001:2::1] [2001:10::1] [::ffff:100.64.0.1]
""".split()

PLACES: Final = tuple(
    f"{scheme}://{host}:{{port}}/api/actionHandler/1"
    for scheme, hosts in (("http", _LOOPBACK + _METADATA + _NOT_PUBLIC), ("https", _LOOPBACK))
    for host in hosts
)
"""Addresses and names of places that nobody outside may send us to."""

READ_IN_TWO_WAYS: Final = (
    "http://w.example:{port}@127.0.0.1:{port}/api/actionHandler/1",
    "http://w.example@127.0.0.1:{port}/api/actionHandler/1",
    "http://w.example:pass@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://:@127.0.0.1:{port}/",
    "http://w.example%40127.0.0.1:{port}/",
    "http://w.example%2f@127.0.0.1:{port}/",
    "http://w.example%23@127.0.0.1:{port}/",
    "http://w.example%3f@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@w.example/api/actionHandler/1",
    "http://127.0.0.1:{port}?@w.example/api/actionHandler/1",
    "http://127.0.0.1:{port}/@w.example/api/actionHandler/1",
    "http://127.0.0.1:{port};@w.example/",
    "http://127.0.0.1:{port}&@w.example/",
    "http://127.0.0.1:{port}\\@w.example/api/actionHandler/1",
    "http://w.example\\@127.0.0.1:{port}/",
    "http://w.example\\.127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/\\127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http:////127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "///127.0.0.1:{port}/",
    "\\\\127.0.0.1:{port}\\",
    "127.0.0.1:{port}/",
    " http://127.0.0.1:{port}/",
    "\thttp://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/ ",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1:{port}\t/",
    "http://127.0.0.1:{port}/\r\nHost: w.example",
    "http://127.0.0.1:{port}/\nX: 1",
    "http://127.0.0.1\r\n:{port}/",
    "http://127.0.\n0.1:{port}/",
    "ht\ntp://127.0.0.1:{port}/",
    "http://\x00127.0.0.1:{port}/",
    "http://127.0.0.1\x00.w.example:{port}/",
    "http://127.0.0.1:{port}\x0b/",
    "http://127.0.0.1:{port}\u2028/",
    "http://127.0.0.1:{port}\u00a0/",
    "http://\u200b127.0.0.1:{port}/",
    "http://w.example\u2215@127.0.0.1:{port}/",
    "http://w.example\uff0f@127.0.0.1:{port}/",
    "http://w.example\uff20127.0.0.1:{port}/",
    "http://w.example\uff1a{port}@127.0.0.1/",
    "http://w.example\u2100@127.0.0.1:{port}/",
    "http://w.example,127.0.0.1:{port}/",
    "http://w.example 127.0.0.1:{port}/",
    "http://w.example:{port}.evil.example/",
    "http://w.example.evil.example:{port}/api/actionHandler/1",
    "http://w.example-evil.example:{port}/api/actionHandler/1",
    "http://evilw.example:{port}/api/actionHandler/1",
    "http://evil.example:{port}/http://w.example/api/actionHandler/1",
    "http://[w.example]:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1:{port}/",
    "http://::1]:{port}/",
    "http://[::1]w.example:{port}/",
    "http://[[::1]]:{port}/",
    "http://127.0.0.1:{port}:{port}/",
    "http://127.0.0.1:+{port}/",
    "http://127.0.0.1:{port}a/",
    "http://127.0.0.1:\uff11{port}/",
    "http://127.0.0.1:0{port}0000/",
    "http://127.0.0.1: {port}/",
    "HTTP://127.0.0.1:{port}/",
    "hTTp://127.0.0.1:{port}/",
    "http\uff1a//127.0.0.1:{port}/",
    "http://xn--:{port}/",
    "http://xn--localhost-.example:{port}/",
    "http://stra\u00dfe.example:{port}/",
    "http://w\u3002example:{port}/",
    "http://\uff57.example:{port}/api/actionHandler/1",
    "http://w.ex\u0430mple:{port}/api/actionHandler/1",
)
"""What one parser takes for an allowed place, and another for this machine."""

_SCHEMES: Final = """
ftp:// ftps:// sftp:// file:// file:/// gopher:// dict:// ldap:// ldaps:// tftp:// jar:http://
netdoc:// phar:// smb:// ws:// wss:// ssh:// telnet:// unix:// http+unix:// blob:http://
view-source:http:// url:http:// data: javascript:// mailto: redis:// http2:// httpx:// h://
""".split()

OTHER_SCHEMES: Final = tuple(f"{each}127.0.0.1:{{port}}/api/actionHandler/1" for each in _SCHEMES)
"""Everything but http and https."""

_PATHS: Final = r"""
/ /api /api/ /api/actionHandler /api/actionHandlerX /api/actionHandler.x /API/actionHandler/1
/api/actionhandler/1 //api/actionHandler/1 /api//actionHandler/1 /x/api/actionHandler/1
/api/actionHandler/../1 /api/actionHandler/.. /api/actionHandler/./../x /api/actionHandler/../../x
/api/actionHandler/a/../../b /api/actionHandler/%2e%2e/x /api/actionHandler/%2E./x
/api/actionHandler/.%2e/x /api/actionHandler/..%2fx /api/actionHandler/..%2Fx
/api/actionHandler/%2e%2e%2fx /api/actionHandler/%252e%252e/x /api/actionHandler/%252e%252e%252fx
/api/actionHandler/..%252fx /api/actionHandler/%25252e%25252e%25252fx /api/actionHandler/..%5cx
/api/actionHandler/%2e%2e%5cx /api/actionHandler/..%255cx /api/actionHandler/..;/x
/api/actionHandler/..;a=b/x /api/actionHandler/%2e%2e;/x /api/actionHandler/..%3b/x
/api/actionHandler/%c0%ae%c0%ae/x /api/actionHandler/%c0%ae%c0%ae%c0%afx
/api/actionHandler/%e0%80%ae%e0%80%ae/x /api/actionHandler/..%c0%afx /api/actionHandler%2f1
/api%2factionHandler/1 /%61pi/..%2fx /api/./../x/actionHandler/1 /..//api/../x
""".split()

CLIMBING: Final = tuple(f"http://127.0.0.1:{{port}}{path}" for path in _PATHS)
"""Paths beside the allowed one, or that a server could take for such."""

ALL: Final = (*PLACES, *READ_IN_TWO_WAYS, *OTHER_SCHEMES, *CLIMBING)
