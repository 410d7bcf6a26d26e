"""A proxy: brings a message and reads it for others, by the PROXY protocol, version 2.

proxied.py SMTP_PORT IMAP_PORT USER PASSWORD
"""
import imaplib
import smtplib
import socket
import ssl
import struct
import sys

smtp_port, imap_port, user, password = sys.argv[1:]
context = ssl._create_unverified_context()


def header(client):
    """The header for a client at this address."""
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    here = "::1" if ":" in client else "127.0.0.1"
    addresses = socket.inet_pton(family, client) + socket.inet_pton(family, here)
    rest = addresses + struct.pack("!HH", 40000, 25) + b"\x04\x00\x03xyz"
    kind = 0x21 if ":" in client else 0x11
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, kind, len(rest)) + rest


def connect(port, client):
    stream = socket.create_connection(("127.0.0.1", int(port)), 30)
    stream.sendall(header(client))
    return stream


class Smtp(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        return connect(port, "2001:db8::7")


class Imap(imaplib.IMAP4):
    def _create_socket(self, timeout=None):
        return connect(self.port, "203.0.113.9")


with Smtp("127.0.0.1", int(smtp_port), timeout=30) as smtp:
    smtp.starttls(context=context)
    smtp.sendmail("", [user], b"From: <bob@far.example>\r\nSubject: proxied\r\n\r\nHello.\r\n")

imap = Imap("127.0.0.1", int(imap_port), timeout=30)
imap.starttls(context)
imap.login(user, password)
imap.select()
_, rows = imap.fetch("1", "(BODY[HEADER.FIELDS (RECEIVED)])")
print(rows[0][1].decode())

# Nobody else is spoken to.
stream = socket.create_connection(("127.0.0.1", int(smtp_port)), 30)
stream.sendall(b"EHLO client.example\r\n")
try:
    print("said to nobody:", stream.recv(100))
except ConnectionResetError:
    print("said to nobody:", b"")
