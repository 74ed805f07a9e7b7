"""Timestamps as ticket systems write them: RFC 3339, a number since the epoch, or a pattern."""

from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, model_validator

from proxy.domain.timestamps import rfc3339_seconds
from proxy.tickets.declaring.model import DeclarationModel

_UNITS: Final = {"seconds": 1_000, "milliseconds": 1}


def _format(text: str) -> str:
    if text in {"rfc3339", *_UNITS}:
        return text
    try:
        datetime.strptime(datetime.now(UTC).strftime(text), text)  # noqa: DTZ007 - only a trial
    except ValueError as error:
        raise ValueError(
            "must be rfc3339, seconds, milliseconds, or a pattern such as '%Y-%m-%d %H:%M:%S'"
        ) from error
    return text


class TimestampFormat(DeclarationModel):
    """The format of a ticket system's timestamps."""

    format: Annotated[str, AfterValidator(_format)] = "rfc3339"
    """`rfc3339`, `seconds`, `milliseconds`, or a pattern of strftime."""
    zone: str = "UTC"
    """The time zone of timestamps that name none."""

    @model_validator(mode="after")
    def _zone_is_known(self) -> Self:
        try:
            self._zone()
        except (LookupError, ValueError, OSError) as error:
            raise ValueError(
                f"zone: {self.zone!r} is not a time zone (expected a name such as Europe/Rome)"
            ) from error
        return self

    def write(self, milliseconds: int) -> str | int:
        """Return a time in the system's format, never later than the time itself."""
        if self.format in _UNITS:
            return milliseconds // _UNITS[self.format]
        if self.format == "rfc3339":
            return rfc3339_seconds(milliseconds)
        local = datetime.fromtimestamp(milliseconds // 1_000, self._zone())
        # when clocks go back, one hour occurs twice, and the later one would hide changes
        second = local.replace(fold=1).utcoffset()
        if (first := local.utcoffset()) != second and first and second:
            local -= first - second
        return local.strftime(self.format)

    def read(self, value: Any) -> int | None:
        """Return a timestamp in milliseconds since the epoch; None if it cannot be read."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        try:
            if self.format in _UNITS:
                return int(float(value) * _UNITS[self.format])
            if self.format == "rfc3339":
                moment = datetime.fromisoformat(str(value).strip().upper())
            else:
                moment = datetime.strptime(str(value).strip(), self.format)  # noqa: DTZ007
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone())
            return int(moment.timestamp() * 1_000)
        except (ValueError, OverflowError):
            return None

    def _zone(self) -> tzinfo:
        return UTC if self.zone == "UTC" else ZoneInfo(self.zone)
