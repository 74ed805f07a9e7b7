"""Every error this program raises, named by what the caller must do about it.

Library exceptions are translated at the module that meets them, so nobody above needs to know
aiohttp, redis or authlib to decide what happens next. A message says what happened, to what, and
what the operator can do; it never holds a secret.
"""


class ProxyError(Exception):
    """The root of the tree: catch it where a library would leak otherwise."""


class TemporaryError(ProxyError):
    """Try again later.

    Attributes:
        retry_after: milliseconds the other side asked for, or None.
        sent: whether the other side may have acted on the call. False is a proof (the connection
            was never made, or the answer says so); True is a doubt that only a look-up can settle.
        limited: whether the other side asked us to call it less, whatever the call.
        crowded: whether the call had no turn among our own: no fault of the other side.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: int | None = None,
        maybe_sent: bool = True,
        rate_limited: bool = False,
        queue_timeout: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.maybe_sent = maybe_sent
        self.rate_limited = rate_limited
        self.queue_timeout = queue_timeout


class PermanentError(ProxyError):
    """Never try this again: the other side understood the call and refused it permanently.

    Attributes:
        status: the HTTP status of the refusal, or None where there was none.
        sent: whether the other side may have acted all the same, as with a redirect.
    """

    def __init__(
        self, message: str, *, status: int | None = None, maybe_sent: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.maybe_sent = maybe_sent


class NotFoundError(PermanentError):
    """The other side does not know this thing, or does not show it to us."""


class ConflictError(PermanentError):
    """The other side says that this is already settled."""


class ConfigurationError(ProxyError):
    """Stop using this destination and tell a person: a setting or a permission is wrong.

    Attributes:
        request_specific: True when one call was refused with 401 or 403 although the token is
            good, so that the cause may be this one request and not the destination.
    """

    def __init__(self, message: str, *, request_specific: bool = False) -> None:
        super().__init__(message)
        self.request_specific = request_specific


class SettingsError(ConfigurationError):
    """Settings cannot be used: every problem found, one per line, each naming its key."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreUnavailableError(TemporaryError):
    """The store does not answer; nothing may be acknowledged until it does."""


class InvalidRequestError(ProxyError):
    """The caller sent something unusable.

    Attributes:
        problems: one sentence each, every one beginning with the field or header concerned.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class UnauthorizedError(ProxyError):
    """The caller is not known, or may not do this."""


class ForbiddenError(ProxyError):
    """The caller is known, and may not do this."""


class IllegalTransitionError(ProxyError):
    """An event that makes no sense in the record's state: a mistake in this program."""


class StaleError(ProxyError):
    """Somebody else changed or claimed the record since it was read."""


class SupersededError(ProxyError):
    """A newer request with the same respondToUrl exists; its id is the message."""
