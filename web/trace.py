"""The trace that a request is part of, by its header `traceparent`."""

import re

# W3C Trace Context, section 3.2: version, trace id, parent id, flags. What follows them is for versions after 00.
TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", re.S)


def trace_id(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The trace id of the one `traceparent` among the headers; None when it is not valid (W3C Trace Context, 3.2)."""
    values = [value for name, value in headers if name == b"traceparent"]
    found = TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if found is None or (found[1] == b"00" and found[3]):
        return None
    return found[2].decode()
