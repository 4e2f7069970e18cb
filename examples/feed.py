#!/usr/bin/env python3
"""Follows a feed of the shop, and comes back by itself.

    SHOP_USERNAME=… SHOP_PASSWORD=… python3 examples/feed.py orders orders.ndjson
    python3 examples/feed.py stock 1,2,3

`orders` appends each event to a file, as a line of JSON. The file is all that it remembers: where the
file ends, there it resumes. So each event stands in it once and in order, however often the
connection, the shop or this program dies. `stock` prints what there is of some products, a line of
JSON for each change.

Needs Python 3.9 and the library `websockets` 10 or newer (Debian: python3-websockets).
"""

import argparse
import asyncio
import fcntl
import json
import os
import random
import sys
import urllib.error
import urllib.request

import websockets

SHOP = os.environ.get("SHOP_URL", "http://127.0.0.1:8000").rstrip("/")
# The longest pause before the first attempt to come back; it doubles with each that fails.
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30
# How long a request may take.
PATIENCE_S = 30
# Close code: not, or not any more, signed in.
SIGNED_OUT_CODE = 4001


class Lost(Exception):
    """To be tried again, but not before `wait_s` have passed."""

    def __init__(self, reason, wait_s=0.0):
        super().__init__(reason)
        self.wait_s = wait_s


class SignedOut(Exception):
    """To be tried again with a new access token."""


class Refused(Exception):
    """Another attempt would end the same way."""


def refusal(status, headers, reason):
    """What a status other than success means."""
    if status == 401:
        return SignedOut(reason)
    if status == 429 or status >= 500:
        wait = headers.get("Retry-After", "")
        return Lost(reason, float(wait) if wait.isdigit() else 0.0)
    return Refused(reason)


def request(path, body=None, access=None):
    """Asks the shop; returns the JSON of a success, and its headers. Blocks."""
    headers = {"Authorization": f"Bearer {access}"} if access else {}
    if body is not None:
        body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    try:
        asked = urllib.request.Request(SHOP + path, body, headers)
        with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:
            return json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise refusal(error.code, error.headers, f"refused with {error.code}: {text}") from None
    except (OSError, ValueError) as error:
        raise Lost(str(error)) from None


class Account:
    """Who follows the orders."""

    def __init__(self, username, password):
        self.password = {"username": username, "password": password}
        self.access = self.refresh = None

    async def token(self):
        """The access token; a new one by the refresh token, or by the password where that has run out."""
        if not self.access and self.refresh:
            await self.sign_in("/api/auth/token/refresh/", {"refresh": self.refresh})
        if not self.access:
            await self.sign_in("/api/auth/login/", self.password)
        if not self.access:
            raise Refused("wrong username or password")
        return self.access

    async def sign_in(self, path, body):
        """Asks for tokens; a 401 leaves none."""
        try:
            tokens, _ = await asyncio.to_thread(request, path, body)
        except SignedOut:
            self.refresh = None
            return
        self.access = tokens["access"]
        # A refresh gives a new refresh token only where the shop is set up to change them.
        self.refresh = tokens.get("refresh", self.refresh)

    async def get(self, path):
        return await asyncio.to_thread(request, path, None, await self.token())


class Orders:
    """The order feed, and the file of its events."""

    def __init__(self, path, account):
        self.account = account
        self.since = None  # everything up to this number is in the file
        self.file = open(path, "a+b")
        fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else writes
        self.file.seek(0)
        end = 0
        for line in self.file:
            if not line.endswith(b"\n"):  # a line that an earlier run did not finish
                break
            end += len(line)
            self.since = json.loads(line).get("seq", self.since)
        self.file.truncate(end)

    @property
    def path(self):
        return "/ws/orders/" + ("" if self.since is None else f"?since={self.since}")

    async def hear(self, text, message):
        kind, seq = message["type"], message.get("seq")
        if kind == "ready" and self.since is None:
            self.write(text)  # the file is complete from here on
        elif kind == "order" and (self.since is None or seq > self.since):
            self.write(text)
        elif kind == "reset":
            # What was missed is not kept any more. Only once the orders have been read anew does
            # the file say so, and go on from there; a crash before repeats the reading.
            await self.reload()
            self.write(text)
        else:
            return
        self.since = seq

    async def reload(self):
        """Writes down how every order stands now."""
        path = "/api/orders/"
        while path:
            orders, headers = await self.account.get(path)
            for order in orders:
                state = {name: order[name] for name in ("user", "status", "total_price")}
                self.write(json.dumps({"type": "state", "order": order["id"], **state}))
            link = headers.get("Link", "")  # <path>; rel="next"
            path = link[1 : link.index(">")] if link.endswith('rel="next"') else None

    def write(self, line):
        self.file.write(line.encode() + b"\n")
        self.file.flush()


class Stock:
    """The stock feed of some products."""

    account = None

    def __init__(self, products):
        self.products = products
        self.shown = set()
        self.since = None

    @property
    def path(self):
        return f"/ws/stock/?products={self.products}" + ("" if self.since is None else f"&since={self.since}")

    async def hear(self, _, message):
        kind, seq = message["type"], message.get("seq")
        if kind == "snapshot":
            gone = self.shown - {shelf["product"] for shelf in message["products"]}
            for shelf in message["products"]:
                self.show(seq, shelf["product"], shelf["stock"], shelf["price"])
            for product in gone:
                self.show(seq, product, None, None)
        elif kind == "stock":
            self.show(seq, message["product"], message["stock"], message["price"])
        elif kind == "removed":
            self.show(seq, message["product"], None, None)
        elif kind == "reset":  # a snapshot follows
            self.since = None
            return
        else:  # `ready` says nothing of stocks: without the snapshot behind it, there is nothing to resume
            return
        self.since = seq

    def show(self, seq, product, stock, price):
        print(json.dumps({"product": product, "stock": stock, "price": price, "seq": seq}), flush=True)
        if stock is None:
            self.shown.discard(product)
        else:
            self.shown.add(product)


async def listen(feed, connected):
    """Listens on one connection until it is over."""
    # A browser cannot set headers, so the shop takes the token as a subprotocol, too. The library
    # answers pings, and sends its own to notice a connection that is lost without a word.
    protocols = ["bearer", await feed.account.token()] if feed.account else None
    address = "ws" + SHOP.removeprefix("http") + feed.path
    try:
        async with websockets.connect(address, subprotocols=protocols) as socket:
            async for text in socket:
                connected()
                await feed.hear(text, json.loads(text))
        raise Lost(f"closed with {socket.close_code}")  # 1001: the shop stops
    except websockets.ConnectionClosedError as error:
        # 4008: too slow for the orders; come back. None: the connection broke.
        if error.rcvd and error.rcvd.code == SIGNED_OUT_CODE:
            raise SignedOut("signed out") from None
        raise Lost(str(error)) from None
    except websockets.InvalidHandshake as error:
        answer = getattr(error, "response", error)  # until websockets 14 it is the error itself
        status = getattr(answer, "status_code", None)
        raise refusal(status, answer.headers, str(error)) if status else Lost(str(error)) from None
    except (OSError, asyncio.TimeoutError) as error:
        raise Lost(str(error) or "no answer") from None


async def follow(feed):
    """Listens, and comes back after every loss. The pauses are random, so that a thousand subscribers
    of a node that went away do not all come at once ("full jitter")."""
    failures = 0

    def connected():
        nonlocal failures
        failures = 0

    while True:
        wait_s = 0.0
        try:
            await listen(feed, connected)
        except Lost as lost:
            reason, wait_s = lost, lost.wait_s
        except SignedOut as signed_out:
            reason, feed.account.access = signed_out, None
        longest_s = min(PAUSE_FIRST_S * 2 ** min(failures, 6), PAUSE_MAX_S)
        failures += 1
        print(f"{reason}; coming back", file=sys.stderr, flush=True)
        await asyncio.sleep(wait_s + random.uniform(0, longest_s))


def feed_of_arguments():
    parser = argparse.ArgumentParser(description="Follow a feed of the shop at SHOP_URL.")
    feeds = parser.add_subparsers(dest="feed", required=True)
    orders = feeds.add_parser("orders", help="append order events to a file, going on where it ends")
    orders.add_argument("file")
    stock = feeds.add_parser("stock", help="print the stock of products")
    stock.add_argument("products", help="their ids, with commas")
    options = parser.parse_args()
    if options.feed == "stock":
        return Stock(options.products)
    environment = os.environ
    account = Account(environment.get("SHOP_USERNAME", ""), environment.get("SHOP_PASSWORD", ""))
    return Orders(options.file, account)


if __name__ == "__main__":
    try:
        asyncio.run(follow(feed_of_arguments()))
    except (Refused, OSError) as refused:
        sys.exit(str(refused))
    except KeyboardInterrupt:
        pass
