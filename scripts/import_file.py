"""Adds the tasks of a file to an account, all or none, and shows on standard error how far it is."""

import argparse
import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

EPILOG = """\
The file is one that GET /api/export gave, or another one of that form: JSON Lines, or CSV if its name ends with .csv.
TODO_URL is the address of the API where --url does not say it, and TODO_TOKEN the Bearer token.

The same file is imported once, also when this is broken off and run again within 24 hours.
"""
PART = 64 * 1024
# Seconds without an answer; a large file takes some of them to be stored.
PATIENCE = 120.0
ATTEMPTS = 3
BEFORE = "This file was imported before, so nothing was added now; --again adds its tasks once more."
BROKEN_OFF = "Broken off. The API may still import the file; to be sure run this again, which imports it only once."


def parts(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Of the file, with a line of progress that is written over on a terminal, and at each tenth elsewhere."""
    sent, told = 0, -1
    while part := file.read(PART):
        yield part
        sent += len(part)
        percent = 100 * sent // size
        if percent > told if sys.stderr.isatty() else percent // 10 > told // 10:
            told = percent
            show(f"Sent {percent} % of {size / 1024 / 1024:.1f} MiB.", ends=percent == 100)
    show("All of it is sent; the API is storing it.", ends=True)


def show(text: str, ends: bool) -> None:
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if ends else "", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def send(url: str, headers: dict[str, str], path: Path) -> tuple[int, str, bool]:
    """The status and the body of the answer, and whether it is an earlier one. Raises `OSError` or `HTTPException`."""
    address = urlsplit(url)
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=PATIENCE)
    try:
        with path.open("rb") as file:
            try:
                body = parts(file, path.stat().st_size)
                connection.request("POST", f"{address.path.rstrip('/')}/api/import", body, headers)
            except (BrokenPipeError, ConnectionResetError):
                # The API may have refused it, and said why, before the end.
                show("The API does not take the rest.", ends=True)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), "Idempotency-Replayed" in answer.headers
    finally:
        connection.close()


def explain(status: int, body: str) -> str:
    """What to say of an answer that is an error."""
    try:
        answer = json.loads(body)
        detail = answer["detail"]
    except (ValueError, KeyError, TypeError):
        return f"The answer is a {status} that is not of this API; see whether the URL is right."
    if status == 401:
        detail += " Give a token with --token or in TODO_TOKEN; for local use scripts/token makes one."
    more = [f"  {problem_of(error)}" for error in answer.get("errors", ())]
    return "\n".join([f"Nothing was imported ({status}): {detail}", *more])


def problem_of(error: dict[str, str]) -> str:
    """As a person reads it, of a line of the file or of the request."""
    line = f"line {error['line']}: " if "line" in error else ""
    return line + ("" if line and error["field"] == "body" else f"{error['field']} ") + error["message"]


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_file(url: str, token: str, path: Path, key: str) -> str:
    """The answer. Exits with a sentence where there is none, or it is an error."""
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "text/csv" if path.suffix.lower() == ".csv" else "application/jsonl",
        "Content-Length": str(path.stat().st_size),
        # However often the file is sent, it is imported once.
        "Idempotency-Key": key,
    }
    for attempt in range(1, ATTEMPTS + 1):
        try:
            status, body, is_replayed = send(url, headers, path)
        except (OSError, HTTPException) as error:
            problem = f"There was no answer from {url}: {error or type(error).__name__}. See that the API runs there."
        else:
            if status == 200:
                if is_replayed and attempt == 1:
                    show(BEFORE, ends=True)
                return body
            problem = explain(status, body)
            if status not in (429, 503):
                break
        if attempt < ATTEMPTS:
            show(f"{problem} Trying again.", ends=True)
            time.sleep(attempt)
    sys.exit(problem)


def is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/import", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--url", default=os.getenv("TODO_URL") or "http://localhost:8000", help="default: %(default)s")
    parser.add_argument("--again", action="store_true", help="add the tasks of a file that was imported before")
    parser.add_argument("--token", default=os.getenv("TODO_TOKEN"), help="TODO_TOKEN is not seen by others")
    options = parser.parse_args()
    try:
        options.file.open("rb").close()
    except OSError as error:
        sys.exit(f"{options.file} cannot be read: {error.strerror}.")
    if not options.file.is_file():
        # It has no size, and cannot be sent a second time.
        sys.exit(f"{options.file} is not a regular file; write what it gives to a file first.")
    if not options.token:
        sys.exit("There is no token; give one with --token or in TODO_TOKEN. For local use scripts/token makes one.")
    token = options.token.strip()
    if not token.isascii() or not token.isprintable():
        sys.exit("The token has characters that no token has; copy it again.")
    if not is_address(options.url):
        sys.exit(f"{options.url} is no URL of an API; write it as https://api.example.com.")
    try:
        key = str(uuid.uuid4()) if options.again else digest(options.file)
        print(import_file(options.url, token, options.file, key))
    except KeyboardInterrupt:
        sys.exit(f"\n{BROKEN_OFF}")


if __name__ == "__main__":
    main()
