#!/usr/bin/env python3
"""Feed a program with the mail of a PrixFixe server: one run of the program for each message.

Usage: consume.py [--url URL] [--query QUERY] -- PROGRAM [ARGUMENT...]

The message is on the program's standard input, and its ID in PRIXFIXE_ID. If the program ends with
0, the message is deleted. Otherwise it stays, and is tried again later, first after a second and
then ever less often. A crash of anybody loses nothing. A crash between the end of the program and
the deletion runs the program again, so a program must not mind an ID that it has seen.

A token is taken from SMTP_HTTP_TOKEN. Only one consumer may take the same messages.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

PAGE = 200  # messages of a list
POLL_SECONDS = 60.0  # one wait of the API
MOST_SECONDS = 300.0  # between two tries of a message


class Server:
    """The API, as far as a consumer needs it."""

    def __init__(self, url, query):
        self.url, self.query = url.rstrip("/"), query
        token = os.environ.get("SMTP_HTTP_TOKEN")
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, path, *, method="GET", body=None, seconds=30.0, **query):
        """Return the bytes of an answer; raise OSError if there is none, or not a good one."""
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        asked = urllib.request.Request(address, body, self.headers, method=method)
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            return answer.read()

    def oldest_first(self):
        """Yield the IDs of what is stored."""
        start, found = 0, []
        while page := self._page(start):
            found += page
            start += PAGE
        yield from reversed(found)

    def _page(self, start):
        words = {"start": start, "limit": PAGE}
        if self.query:
            answer = self.ask("search", query=self.query, **words)
        else:
            answer = self.ask("messages", **words)
        return [one["ID"] for one in json.loads(answer)["messages"]]

    def raw(self, name):
        """Return a message as it came, or None if somebody deleted it."""
        try:
            return self.ask(f"message/{name}/raw")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def delete(self, name):
        """Acknowledge a message. The list of IDs is never empty: that would delete all mail."""
        self.ask("messages", method="DELETE", body=json.dumps({"IDs": [name]}).encode())

    def wait(self, since, seconds):
        """Sleep until there may be something new."""
        query = {"query": self.query or "larger:0", "timeout": f"{max(1, round(seconds))}"}
        try:
            self.ask("wait", **query, **({"since": since} if since else {}), seconds=seconds + 30)
        except urllib.error.HTTPError as error:
            if error.code != 408:  # the time is up
                raise


class Consumer:
    """Which messages failed, and when each is tried again."""

    def __init__(self, server, program):
        self.server, self.program = server, program
        self.failures = {}  # ID to number of failures and the time of the next try
        self.newest = ""

    def turn(self):
        """Take what is due, then wait for more."""
        there = list(self.server.oldest_first())
        self.failures = {name: one for name, one in self.failures.items() if name in there}
        for name in there:
            if self.failures.get(name, (0, 0.0))[1] <= time.monotonic():
                self.take(name)
        self.newest = there[-1] if there else self.newest
        self.server.wait(self.newest, self._pause())

    def _pause(self):
        due = min(
            (one[1] for one in self.failures.values()), default=time.monotonic() + POLL_SECONDS
        )
        return min(POLL_SECONDS, max(1.0, due - time.monotonic()))

    def take(self, name):
        """Run the program once, and acknowledge if it succeeds."""
        octets = self.server.raw(name)
        if octets is None:
            return
        environ = {**os.environ, "PRIXFIXE_ID": name}
        done = subprocess.run(self.program, input=octets, env=environ)
        if done.returncode == 0:
            self.server.delete(name)
            self.failures.pop(name, None)
            return
        count = self.failures.get(name, (0, 0.0))[0] + 1
        pause = min(MOST_SECONDS, 2.0 ** (count - 1))
        self.failures[name] = (count, time.monotonic() + pause)
        print(f"{name}: exit code {done.returncode}, again in {pause:g} s", file=sys.stderr)


def main():
    """Consume until somebody ends it."""
    parser = argparse.ArgumentParser(description="Feed a program with the mail of a server.")
    parser.add_argument("--url", default="http://127.0.0.1:8025", help="default: %(default)s")
    parser.add_argument("--query", default="", help="take only mail that matches this search")
    parser.add_argument("program", nargs="+", help="the program and its arguments, after --")
    args = parser.parse_args()
    consumer = Consumer(Server(args.url, args.query), args.program)
    while True:
        try:
            consumer.turn()
        except OSError as error:  # the server is not there, or it is stopping
            print(f"{args.url}: {error}; trying again", file=sys.stderr)
            time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
