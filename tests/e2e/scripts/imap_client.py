"""Uses a mailbox of its own with imaplib, from its creation to its end, and demands each answer.

imap_client.py HOST PORT starttls|implicit CERTIFICATE USER PASSWORD MAILBOX

Prints the first message of the Inbox.
"""
import imaplib
import ssl
import sys

host, port, tls, certificate, user, password, mailbox = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
if tls == "implicit":
    imap = imaplib.IMAP4_SSL(host, int(port), ssl_context=context, timeout=30)
else:
    imap = imaplib.IMAP4(host, int(port), timeout=30)
    imap.starttls(ssl_context=context)


def ok(answer, expected=None):
    """Demands OK and, where given, exactly this data."""
    status, data = answer
    assert status == "OK", answer
    assert expected is None or data == expected, (data, expected)
    return data


imap.login(user, password)
ok(imap.create(mailbox))
ok(imap.subscribe(mailbox))
assert mailbox in [line.decode().rsplit(" ", 1)[1].strip('"') for line in ok(imap.list())]
assert mailbox in [line.decode().rsplit(" ", 1)[1].strip('"') for line in ok(imap.lsub())]
first = b"Subject: first\r\nFrom: a@example.org\r\n\r\nThe first one, with \xc3\xa9.\r\n"
second = b"Subject: second\r\n\r\nThe second one.\r\n"
ok(imap.append(mailbox, "(\\Seen)", imaplib.Time2Internaldate(1700000000), first))
ok(imap.append(mailbox, None, None, second))
ok(imap.select(mailbox), [b"2"])
assert imap.response("UIDVALIDITY")[1][0].isdigit()
ok(imap.search(None, "ALL"), [b"1 2"])
ok(imap.search(None, "UNSEEN"), [b"2"])
ok(imap.uid("SEARCH", "SUBJECT", "first"), [b"1"])
data = ok(imap.fetch("1", "(UID RFC822.SIZE FLAGS INTERNALDATE BODY.PEEK[])"))
assert data[0][1] == first, data
assert b"UID 1 " in data[0][0] + data[1] and b"\\Seen" in data[0][0] + data[1], data
assert f"RFC822.SIZE {len(first)}".encode() in data[0][0] + data[1], data
assert int(imaplib.Internaldate2tuple(data[0][0] + data[1]) is not None), data
assert ok(imap.fetch("2", "(BODY.PEEK[TEXT]<4.6>)"))[0][1] == b"second"
assert b'"first"' in ok(imap.fetch("1", "(ENVELOPE)"))[0]
assert ok(imap.fetch("2", "(FLAGS)"))[0] in (b"2 (FLAGS ())", b"2 (FLAGS (\\Recent))")
ok(imap.store("2", "+FLAGS", "(\\Flagged keyword)"))
ok(imap.search(None, "FLAGGED", "KEYWORD", "keyword"), [b"2"])
ok(imap.copy("2", mailbox))
ok(imap.noop())
ok(imap.search(None, "ALL"), [b"1 2 3"])
ok(imap.uid("MOVE", "3", "INBOX"))
assert imap.response("EXPUNGE")[1] == [b"3"]
ok(imap.store("1", "+FLAGS.SILENT", "(\\Deleted)"))
ok(imap.expunge(), [b"1"])
ok(imap.uid("SEARCH", "ALL"), [b"2"])
ok(imap.status(mailbox, "(MESSAGES UIDNEXT UNSEEN)"), [f"{mailbox} (MESSAGES 1 UIDNEXT 4 UNSEEN 1)".encode()])
ok(imap.close())
ok(imap.rename(mailbox, mailbox + "-new"))
ok(imap.unsubscribe(mailbox))
ok(imap.delete(mailbox + "-new"))
status, _ = imap.select(mailbox)
assert status == "NO", status
ok(imap.select("INBOX", readonly=True))
sys.stdout.buffer.write(ok(imap.fetch("1", "(BODY[])"))[0][1])
imap.logout()
