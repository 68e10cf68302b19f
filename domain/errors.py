"""The error tree: every error that GroundWatch raises on purpose descends from `GroundWatchError`.

```
GroundWatchError
├── ConfigurationError        settings, configuration folders, the embedded stack
├── InputError                what a caller, a file or a device sent
│   ├── FormatError           a payload that is not the format at all
│   ├── UnitError             a unit that is unknown or of another dimension
│   ├── DatumError            a height without datum, or in an unlike datum
│   └── RequestError          a parameter of a request
├── NotFoundError             an identifier that names nothing
├── ConflictError             the stored state forbids the change
├── PermissionDeniedError     who asks may not
├── AuthenticationError       nobody knows who asks
└── UnavailableError          database or broker are out of reach; a retry helps
    ├── DiskFullError         the database has no room; a retry helps when somebody has made some
    └── ConnectionLimitError  the database takes no further connection for now
```

Facts are attributes, so that a message can be written in any language; this file finishes with the tree and has no logic.
"""

from __future__ import annotations


class GroundWatchError(Exception):
    """What went wrong, where, and the remedy.

    Parameters
    ----------
    what
        One sentence that names the fault.
    where
        File and line, topic, URL, table or setting in which it was found.
    remedy
        What the reader can do about it.
    """

    code = "error"

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text.rstrip('.')}. Remedy: {self.remedy}" if self.remedy else text


class ConfigurationError(GroundWatchError):
    """A setting, a configuration folder or the embedded stack cannot be used."""

    code = "configuration"


class InputError(GroundWatchError):
    """What was sent cannot be used as it is."""

    code = "input"


class FormatError(InputError):
    """A payload that is not the format at all (one bad row is a `Rejected`, not an error)."""

    code = "format"


class UnitError(InputError):
    """A unit that is unknown, or of another dimension than the property's."""

    code = "unit"


class DatumError(InputError):
    """A height without a datum, or in a datum unlike the datastream's."""

    code = "datum"


class RequestError(InputError):
    """A parameter of a request is missing, malformed or out of bounds."""

    code = "request"


class NotFoundError(GroundWatchError):
    """An identifier that names nothing."""

    code = "not-found"


class ConflictError(GroundWatchError):
    """The stored state forbids the change."""

    code = "conflict"


class PermissionDeniedError(GroundWatchError):
    """The role or the key does not allow this."""

    code = "permission-denied"


class AuthenticationError(GroundWatchError):
    """A token is missing, unknown, expired or revoked."""

    code = "authentication"


class UnavailableError(GroundWatchError):
    """Database or broker are out of reach; trying again later helps."""

    code = "unavailable"


class DiskFullError(UnavailableError):
    """The database has no room left; what is refused now is taken as soon as there is some."""

    code = "disk-full"


class ConnectionLimitError(UnavailableError):
    """The database takes no further connection for now."""

    code = "connection-limit"
