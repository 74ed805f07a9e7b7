import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.errors import InvalidRequestError
from proxy.net import urls
from proxy.net.urls import CallbackPrefix, allowed, normalise, under

PREFIX = CallbackPrefix("https://w.example.com", "/api/actionHandler/")


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """Clear the cache of origins, so that no test depends on another."""
    urls._origin.cache_clear()


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://w.example.com/api/actionHandler/123456", None),
        ("http://w.example.com/a/b?q=1&r=a/b?c", None),
        ("http://w_1.svc:8080/a;b=1/~c/@x:y", None),
        ("HTTPS://W.Example.COM/Api", "https://w.example.com/Api"),
        ("http://w.example.com", "http://w.example.com/"),
        ("http://w.example.com?x=1", "http://w.example.com/?x=1"),
        ("http://w.example.com/?", "http://w.example.com/"),
        ("http://w.example.com:80/a", "http://w.example.com/a"),
        ("https://w.example.com:443/a", "https://w.example.com/a"),
        ("https://w.example.com:80/a", None),
        ("http://w.example.com:/a", "http://w.example.com/a"),
        ("http://w.example.com:0080/a", "http://w.example.com/a"),
        ("http://w.example.com./a", "http://w.example.com/a"),
        ("http://w.example.com/a/./b/../c", "http://w.example.com/a/c"),
        ("http://w.example.com/a/%2e%2E/b", "http://w.example.com/b"),
        ("http://w.example.com/../../b", "http://w.example.com/b"),
        ("http://w.example.com/a/b/..", "http://w.example.com/a/"),
        ("http://w.example.com/a/b/.", "http://w.example.com/a/b/"),
        ("http://w.example.com/.well-known/x", None),
        ("http://w.example.com/a//b", None),
        ("http://w.example.com/%41%2fb%c3%a9", "http://w.example.com/A%2Fb%C3%A9"),
        ("http://w.example.com/é?é", "http://w.example.com/%C3%A9?%C3%A9"),
        ('http://w.example.com/a"b<c>', "http://w.example.com/a%22b%3Cc%3E"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
        ("http://127.0.0.1:8080/a", None),
        ("http://[::1]:8080/a", None),
        ("http://[0:0:0:0:0:0:0:1]/a", "http://[::1]/a"),
    ],
)
def test_a_url_gets_one_spelling(url: str, normal: str | None) -> None:
    expected = url if normal is None else normal
    assert normalise(url) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "absolute"),
        ("/api/actionHandler/1", "absolute"),
        ("//w.example.com/a", "absolute"),
        ("ftp://w.example.com/a", "absolute"),
        ("javascript:alert(1)", "absolute"),
        ("http\u017f://w.example.com/a", "absolute"),
        ("http:w.example.com/a", "absolute"),
        ("http:///a", "host"),
        ("http://user@w.example.com/a", "user name"),
        ("http://user:canary@w.example.com/a", "user name"),
        ("http://w.example.com/a#b", "fragment"),
        ("http://w.example.com/a#", "fragment"),
        ("http://w.example.com\\@evil.example/", "backslash"),
        ("http://w.example.com/a b", "white space"),
        (" http://w.example.com/a", "white space"),
        ("http://w.example.com/a\t", "white space"),
        ("http://w.example.com/a\r\nX: 1", "white space"),
        ("http://w.example.com/a\x00", "control"),
        ("http://w.example.com/\u2028a", "white space"),
        ("http://w.example.com:0/a", "port"),
        ("http://w.example.com:65536/a", "port"),
        ("http://w.example.com:999999/a", "port"),
        ("http://w.example.com:http/a", "port"),
        ("http://w.example.com:+80/a", "port"),
        ("http://w.example.com:\uff180/a", "port"),
        ("http://w..example.com/a", "host"),
        ("http://w.example.com../a", "host"),
        ("http://-w.example.com/a", "host"),
        ("http://w.exam%70le.com/a", "host"),
        ("http://w,example.com/a", "host"),
        (f"http://{'a' * 64}.example.com/a", "host"),
        (f"http://{'a.' * 150}com/a", "host"),
        ("http://\uff57.example.com/a", "convert differently"),
        ("http://straße.example/a", "convert differently"),
        ("http://w。example.com/a", "convert differently"),
        ("http://127.1/a", "IPv4"),
        ("http://2130706433/a", "IPv4"),
        ("http://0x7f.0.0.1/a", "IPv4"),
        ("http://0x7f.1/a", "IPv4"),
        ("http://127.0.0.01/a", "IPv4"),
        ("http://127.0.0.256/a", "IPv4"),
        ("http://w.example.0x/a", "IPv4"),
        ("http://[::1/a", "host"),
        ("http://[::g]/a", "host"),
        ("http://[::1::]/a", "IPv6"),
        ("http://[fe80::1%25eth0]/a", "host"),
        ("http://w.example.com/a%", "two hexadecimal digits"),
        ("http://w.example.com/a%2", "two hexadecimal digits"),
        ("http://w.example.com/a%zz", "two hexadecimal digits"),
        pytest.param("http://w.example.com/\ud800", "cannot be encoded", id="surrogate"),
        ("http://w.example.com/" + "a" * 2_048, "longer than 2048"),
        ("http://w.example.com/" + "é" * 1_000, "after encoding"),
    ],
)
def test_an_ambiguous_url_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why) as caught:
        normalise(url)
    assert [problem.startswith("respondToUrl ") for problem in caught.value.problems] == [True]
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://w.example.com/a", "must be an absolute http or https URL"),
        ("http://w.example.com/a#b", "must not have a fragment (#)"),
        (
            "http://w.example.com/a b",
            "must not contain white space, control characters or backslashes",
        ),
        ("http://a:b@w.example.com/", "must not contain a user name or password"),
        ("http://w.example.com:x/", "has no usable host or port"),
        ("http://w.example.com:0/", "has a port outside 1 to 65535"),
        ("http://[::1::]/a", "has no usable IPv6 address"),
        ("http://" + "bü" * 40 + ".example/a", "has a host name that IDNA does not allow"),
        (
            "http://straße.example/a",
            "has a host name with characters that parsers convert differently",
        ),
        ("http://w,example.com/a", "has no usable host name"),
        ("http://127.1/a", "has no usable IPv4 address"),
        ("http://w.example.com/a%zz", "has a % that is not followed by two hexadecimal digits"),
        pytest.param(
            "http://w.example.com/\ud800", "has characters that cannot be encoded", id="surrogate"
        ),
        ("http://w.example.com/" + "a" * 2_048, "is longer than 2048 characters"),
        ("http://w.example.com/" + "é" * 1_000, "is longer than 2048 characters after encoding"),
    ],
)
def test_each_refusal_names_the_problem(url: str, sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        normalise(url)
    assert list(caught.value.problems) == [f"respondToUrl {sentence}"]


def padded(start: str, length: int) -> str:
    return start + "a" * (length - len(start))


@pytest.mark.parametrize("start", ["http://w.example.com/", "http://W.example.com/é/"])
def test_a_url_may_be_as_long_as_the_limit_and_no_longer(start: str) -> None:
    longer = len(normalise(start)) - len(start)  # after encoding
    assert len(normalise(padded(start, 2_048 - longer))) == 2_048
    with pytest.raises(InvalidRequestError, match="longer than 2048"):
        normalise(padded(start, 2_049 - longer))


def test_a_host_may_be_as_long_as_dns_allows_and_no_longer() -> None:
    labels = ".".join(["a" * 60] * 4)  # 243 characters
    assert normalise(f"http://{labels}.{'b' * 9}/") == f"http://{labels}.{'b' * 9}/"
    with pytest.raises(InvalidRequestError, match="host name"):
        normalise(f"http://{labels}.{'b' * 10}/")


PIECES = (
    "http:// HTTP:// https:// w.example.com W.com :80 :8080 [::1] 127.0.0.1 / /a /.. /. // . .."
    " ; @ # ? % %2e %2F %41 %25 ?q=1 é ü ß \uff21 {} \\"
)
URLS = st.lists(st.sampled_from(PIECES.split()), max_size=9).map(
    lambda parts: "".join(["http://w", *parts])
)


@given(URLS)
def test_normalising_twice_changes_nothing_and_the_client_reads_the_same(url: str) -> None:
    try:
        normal = normalise(url)
    except InvalidRequestError:
        return
    assert normalise(normal) == normal
    assert urls._rewritten(normal) == normal
    sent = URL(normal, encoded=True)
    assert str(sent) == normal
    again = f"{sent.origin()}{sent.raw_path}" + (f"?{sent.raw_query_string}" * bool(sent.query))
    assert again.startswith(normal.partition("?")[0])


@given(URLS)
def test_the_fast_path_agrees_with_the_slow_path(url: str) -> None:
    try:
        slow = urls._rewritten(url)
    except ValueError:
        with pytest.raises(InvalidRequestError):
            normalise(url)
    else:
        assert normalise(url) == slow


@pytest.mark.parametrize(
    "url",
    [
        "https://w.example.com/api/actionHandler/1",
        "https://W.EXAMPLE.com:443/api/./actionHandler/1?x=..%2f",
        "https://w.example.com/api/actionHandler/a%20b%2Fc",
        "https://w.example.com/api/actionHandler/",
        "https://w.example.com/api/actionHandler/x/../y",
    ],
)
def test_inside_the_prefix(url: str) -> None:
    assert allowed(normalise(url), [PREFIX])


@pytest.mark.parametrize(
    "url",
    [
        "http://w.example.com/api/actionHandler/1",
        "https://w.example.com:8443/api/actionHandler/1",
        "https://w.example.com.evil.example/api/actionHandler/1",
        "https://evil.example/https://w.example.com/api/actionHandler/1",
        "https://x.example.com/api/actionHandler/1",
        "https://w.example.com/api/actionHandler",
        "https://w.example.com/api/actionHandlerEvil",
        "https://w.example.com/API/actionHandler/1",
        "https://w.example.com/api/actionHandler/../evil",
        "https://w.example.com/api/actionHandler/%2e%2e/evil",
        "https://w.example.com/api/actionHandler/..%2fevil",
        "https://w.example.com/api/actionHandler/x%2f..%2f..%2fevil",
        "https://w.example.com/api/actionHandler/%2e%2e%5cevil",
        "https://w.example.com/api/actionHandler/%252e%252e%252fevil",
        "https://w.example.com/api/actionHandler/%25252e%25252e%25252fevil",
        "https://w.example.com/api/actionHandler/..;/evil",
        "https://w.example.com/api/actionHandler/..%3Bx/evil",
        "https://w.example.com/?/api/actionHandler/1",
    ],
)
def test_outside_the_prefix(url: str) -> None:
    assert not allowed(normalise(url), [PREFIX])


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("https://w.example.com", "/anything", None),
        ("https://w.example.com/hooks", "/hooks", "/hooksEvil"),
        ("https://w.example.com/hooks", "/hooks/1", "/hook"),
        ("https://w.example.com/hooks", "/hooks?x=1", "/hooks;x=1"),
    ],
)
def test_a_prefix_ends_at_a_segment(prefix: str, inside: str, outside: str | None) -> None:
    prefixes = [PREFIX, CallbackPrefix.parse(prefix)]
    assert allowed(normalise(f"https://w.example.com{inside}"), prefixes)
    if outside is not None:
        assert not allowed(normalise(f"https://w.example.com{outside}"), prefixes)


def test_no_prefix_allows_nothing() -> None:
    assert not allowed("https://w.example.com/api/actionHandler/1", [])


def test_a_prefix_is_read_as_urls_are() -> None:
    assert CallbackPrefix.parse("HTTPS://W.example.com:443/api/%61ctionHandler/") == PREFIX
    assert CallbackPrefix("https://w.example.com", "/api/actionHandler/") == PREFIX


@pytest.mark.parametrize("text", ["w.example.com/api", "https://w.example.com/a?b=1", "https://"])
def test_an_unusable_prefix_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="callback prefix"):
        CallbackPrefix.parse(text)


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/api/x", True),
        ("/api/./x", True),
        ("/api/x%20y", True),
        ("/api/a/../x", True),
        ("/api/../x", False),
        ("/api/%2e%2e/x", False),
        ("/api/%252e%252e/x", False),
        ("/api/%ff", False),  # not UTF-8: servers decode it differently
        ("/api/%25ff", False),
        ("/api/%c0%ae%c0%ae/x", False),
    ],
)
def test_a_path_is_under_its_prefix_however_it_is_decoded(path: str, inside: bool) -> None:  # noqa: FBT001
    """The path need not be normalised: links of ticket systems are not."""
    assert under(path, "/api/") is inside


def test_a_prefix_may_hold_what_looks_like_a_scheme() -> None:
    prefix = CallbackPrefix.parse("https://w.example.com/to/http://x/")
    assert prefix == CallbackPrefix("https://w.example.com", "/to/http://x/")
