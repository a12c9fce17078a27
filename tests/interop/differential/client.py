"""Clients: they send bytes and keep what came back."""

import asyncio
import re
import socket

SETTLE = 0.04  # after the last byte of an answer: whether another one follows, or the backend sees more
PATIENCE = 0.5  # for the first byte of an answer where none need come
LONG = 20  # for an answer that has to come


async def connected(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return reader, writer


async def exchange(request, port, due, is_in_pieces=False):
    """The statuses that came, and whether the connection was closed. Waits long for `due` answers, shortly for more."""
    reader, writer = await connected(port)
    statuses, data, is_closed = [], b"", False

    async def write():
        try:
            pieces = [request[at : at + 1] for at in range(len(request))] if is_in_pieces else [request]
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass

    writing = asyncio.ensure_future(write())
    while not is_closed:
        patience = LONG if len(statuses) < due else (SETTLE if statuses and not data else PATIENCE)
        try:
            piece = await asyncio.wait_for(reader.read(65536), patience)
        except asyncio.TimeoutError:
            break
        except ConnectionError:
            piece = b""
        is_closed = not piece
        data += piece
        while answer := first_answer(data):
            status, size = answer
            data = data[size:]
            if status != 100:
                statuses.append(status)
    await asyncio.wait_for(writing, LONG)
    writer.close()
    await asyncio.sleep(SETTLE)
    return statuses, is_closed


def first_answer(data):
    """The status and the size of the first answer; None where more of it is to come."""
    whole = re.match(rb"HTTP/1\.[01] (\d{3})[^\n]*\n(?:[^\r\n]+\r?\n)*\r?\n", data)
    if not whole:
        return None
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", whole[0])
    size = whole.end() + (int(length[1]) if length else 0)
    if re.search(rb"(?i)\ntransfer-encoding: *chunked", whole[0]):
        end = data.find(b"0\r\n\r\n", whole.end())
        size = end + 5 if end >= 0 else len(data) + 1
    return (int(whole[1]), size) if len(data) >= size else None


async def fetch(port, request, pauses=()):
    """All that comes back until the connection ends, and whether it ended in time and order.

    `request` is one piece or several; `pauses` are the seconds between them.
    """
    reader, writer = await connected(port)
    pieces = [request] if isinstance(request, bytes) else request

    async def write():
        try:
            for piece, pause in zip(pieces, (0, *pauses)):
                await asyncio.sleep(pause)
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass

    writing = asyncio.ensure_future(write())
    data, is_whole = b"", True
    try:
        while piece := await asyncio.wait_for(reader.read(65536), LONG + sum(pauses)):
            data += piece
    except (ConnectionError, asyncio.TimeoutError):
        is_whole = False
    writing.cancel()
    writer.close()
    return data, is_whole


def upload(port, request, size):
    """What a client gets that reads nothing until it has written all of a body: the first answer's status, or the error."""
    with socket.create_connection(("127.0.0.1", port), LONG) as connection:
        try:
            connection.sendall(request + b"x" * size)
            return int(re.match(rb"HTTP/1\.[01] (\d{3})", connection.recv(65536))[1])
        except (OSError, TypeError, IndexError) as error:
            return "a broken pipe" if isinstance(error, ConnectionError) else "nothing"
