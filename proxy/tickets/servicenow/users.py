"""ServiceNow users: records refer to them by id, requesters are known by email."""

import re
from typing import Final

from proxy.errors import NotFoundError, TemporaryError
from proxy.tickets.servicenow.client import SYS_ID, Instance, quoted, text_of

_ADDRESS: Final = re.compile(r"[a-z0-9._%+'-]+@[a-z0-9.-]+")


async def user_id(instance: Instance, email: str) -> str:
    """Return the id of the one active user with this email; empty if it is not exactly one.

    Raises:
        TemporaryError: the instance does not answer; nothing was written.
    """
    if not _ADDRESS.fullmatch(email):
        return ""
    query = f"email={quoted(email)}^active=true"
    try:
        rows = await instance.rows("sys_user", query, ("sys_id", "email", "active"))
    except NotFoundError:
        return ""
    except TemporaryError as error:
        raise TemporaryError(str(error), retry_after=error.retry_after, maybe_sent=False) from error
    ids = {
        text_of(row.get("sys_id"))
        for row in rows
        if text_of(row.get("email")).casefold() == email and row.get("active") == "true"
    }
    (user,) = ids if len(ids) == 1 else ("",)
    return user if SYS_ID.fullmatch(user) else ""
