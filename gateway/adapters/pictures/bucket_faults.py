"""What goes wrong with a bucket, in words that say what to do.

The library's errors hold a page of text, of which only the first line is for a log, and which
tells keys that are refused, buckets that are missing and servers that are silent apart only by
what the server wrote.
"""

from __future__ import annotations

from typing import Final

from gateway.core.picture_errors import StoreAway, StoreFull

LINE_CHARACTERS: Final = 300
NO_BUCKET: Final = "NoSuchBucket"
KEYS: Final = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"

_SKEWED: Final = "RequestTimeTooSkewed"
_REFUSED: Final = (" 403 Forbidden", " 401 Unauthorized", "ExpiredToken", "InvalidToken")
_ELSEWHERE: Final = ("AuthorizationHeaderMalformed", "PermanentRedirect", " 301 ", " 307 ")
_SILENT: Final = ("HTTP error", "error sending request", "operation timed out")
_NO_KEYS: Final = ("/latest/api/token", "/latest/meta-data", "169.254.", "AssumeRole")
_FULL: Final = (" 507 ", "StorageFull", "QuotaExceeded", "no writable volumes", "no free volumes")
_UNKNOWN: Final = ("NotImplemented", " 501 ")


def told(error: Exception, where: str, *, has_keys: bool = True) -> StoreFull:
    """The store's own error for what the library raised; without keys it looked for some."""
    text = str(error)
    if not has_keys and (isinstance(error, TimeoutError) or any(one in text for one in _NO_KEYS)):
        return StoreFull(f"there are no keys for {where}: set {KEYS}")
    if NO_BUCKET in text or isinstance(error, FileNotFoundError):
        return StoreAway(f"{where} is not there: make it, or correct storage.pictures")
    if _SKEWED in text:
        return StoreFull(f"{where} has another time than this machine: set its clock")
    if any(sign in text for sign in _REFUSED):
        return StoreAway(
            f"{where} refuses the keys: check {KEYS}, and that they may list, read, write and"
            " delete there"
        )
    if any(sign in text for sign in _ELSEWHERE):
        return StoreAway(f"{where} is in another region or at another address: check AWS_REGION")
    if any(sign in text for sign in _UNKNOWN):
        return StoreAway(f"{where} knows no conditional writes (If-None-Match): use another server")
    return StoreFull(_passing(error, text, where))


def _passing(error: Exception, text: str, where: str) -> str:
    """What may be over by itself."""
    if any(sign in text for sign in _FULL):
        return f"{where} is full"
    if isinstance(error, TimeoutError) or any(sign in text for sign in _SILENT):
        return f"{where} does not answer: check AWS_ENDPOINT_URL, and that the server is up"
    return f"{where} cannot do it now; the log says what it answered"


def first_line(error: Exception) -> str:
    """All of the error that a log may hold."""
    text = str(error).strip().partition("\n")[0][:LINE_CHARACTERS]
    return text or type(error).__name__
