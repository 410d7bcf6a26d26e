"""Speaks SMTP, submission and IMAP with a server in every way that a recording must show.

capture_clients.py PORT_BASE PASSWORD

Local parts are alice, bob and u0@localhost; the words of messages are Zebra, Quagga and Okapi.
"""
import imaplib
import smtplib
import ssl
import sys
import threading
import time

base, password = int(sys.argv[1]), sys.argv[2]
insecure = ssl._create_unverified_context()
BODY = b"From: Alice Zebra <alice@localhost>\r\nTo: bob@localhost\r\nSubject: Quagga %d\r\nMessage-ID: <okapi-%d@localhost>\r\n\r\nZebra and Quagga.\r\n.a dot\r\n..\r\nOkapi\r\n"
# Who logs in sends in their own name.
OWN = BODY.replace(b"alice@", b"u0@")


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


# Mail from elsewhere: one session with two messages, a refused recipient, RSET, and a message by BDAT.
with smtplib.SMTP("127.0.0.1", base + 25, timeout=30) as smtp:
    smtp.sendmail("alice@localhost", ["mox@localhost"], BODY % (1, 1))
    smtp.docmd("MAIL FROM:<alice@localhost>")
    assert smtp.docmd("RCPT TO:<bob@elsewhere.example>")[0] == 550
    smtp.rset()
    assert smtp.docmd("VRFY alice")[0] in (252, 502)
    smtp.sendmail("alice@localhost", ["mox@localhost", "bob@localhost"], BODY % (2, 2))
    chunk = BODY % (3, 3)
    smtp.docmd("MAIL FROM:<alice@localhost>")
    smtp.docmd("RCPT TO:<mox@localhost>")
    smtp.send(b"BDAT %d\r\n" % len(chunk) + chunk)
    assert smtp.getreply()[0] == 250
    smtp.send(b"BDAT 7 LAST\r\nOkapi\r\n")
    assert smtp.getreply()[0] == 250

# Everything in one packet, with a large message.
smtp = smtplib.SMTP("127.0.0.1", base + 25, timeout=30)
smtp.ehlo()
smtp.send("MAIL FROM:<alice@localhost>\r\nRCPT TO:<mox@localhost>\r\nRCPT TO:<bob@localhost>\r\nDATA\r\n")
assert [smtp.getreply()[0] for _ in range(4)] == [250, 250, 250, 354]
smtp.send(BODY % (4, 4) + b"Zebra " * 10 + b"\r\n" + b"Quagga Okapi\r\n" * 10000 + b".\r\nQUIT\r\n")
assert [smtp.getreply()[0] for _ in range(2)] == [250, 221]
smtp.close()

# Our users: wrong password, each mechanism, STARTTLS and TLS from the first octet.
smtp = smtplib.SMTP("127.0.0.1", base + 587, timeout=30)
smtp.starttls(context=insecure)
try:
    smtp.login("u0@localhost", password + "x")
    raise SystemExit("a wrong password was taken")
except smtplib.SMTPAuthenticationError:
    pass
smtp.user, smtp.password = "u0@localhost", password
assert smtp.auth("LOGIN", smtp.auth_login)[0] == 235
smtp.sendmail("u0@localhost", ["bob@localhost"], OWN % (5, 5))
smtp.quit()
with smtplib.SMTP_SSL("127.0.0.1", base + 465, context=insecure, timeout=30) as smtp:
    smtp.ehlo()
    smtp.user, smtp.password = "u0@localhost", password
    assert smtp.auth("PLAIN", smtp.auth_plain)[0] == 235
    smtp.sendmail("u0@localhost", ["alice@localhost"], OWN % (6, 6))

# Reading: LOGIN in clear, with STARTTLS, with TLS; FETCH, SEARCH, APPEND, IDLE.
for kind in ("clear", "starttls", "tls"):
    if kind == "tls":
        imap = imaplib.IMAP4_SSL("127.0.0.1", base + 993, ssl_context=insecure, timeout=30)
    else:
        imap = imaplib.IMAP4("127.0.0.1", base + 143, timeout=30)
    if kind == "starttls":
        imap.starttls(ssl_context=insecure)
    if kind == "clear":
        try:
            imap.login("mox@localhost", password + "x")
            raise SystemExit("a wrong password was taken")
        except imaplib.IMAP4.error:
            pass
    if kind == "tls":
        ok(imap.authenticate("PLAIN", lambda _: b"\0mox@localhost\0" + password.encode()))
    elif kind == "starttls":
        # A literal: the password has a line of its own.
        imap.send(b"L1 LOGIN {13}\r\n")
        assert imap.readline().startswith(b"+")
        imap.send(b"mox@localhost {%d}\r\n" % len(password))
        assert imap.readline().startswith(b"+")
        imap.send(password.encode() + b"\r\n")
        line = imap.readline()
        while not line.startswith(b"L1 "):
            line = imap.readline()
        assert line.startswith(b"L1 OK"), line
        imap.state = "AUTH"
    else:
        ok(imap.login("mox@localhost", password))
    ok(imap.list())
    assert int(ok(imap.select("INBOX"))[0]) >= 4
    ok(imap.fetch("1:*", "(UID FLAGS ENVELOPE BODYSTRUCTURE RFC822.SIZE)"))
    assert b"Okapi" in ok(imap.fetch("1", "(BODY[])"))[0][1]
    ok(imap.fetch("2:3", "(BODY.PEEK[HEADER.FIELDS (Subject From)] BODY.PEEK[TEXT]<0.20>)"))
    assert ok(imap.search(None, "SUBJECT", '"Quagga 1"')) == [b"1"]
    ok(imap.search(None, "BODY", "Okapi", "FROM", "alice", "HEADER", "Message-ID", "okapi-2"))
    ok(imap.append("INBOX", "(\\Seen)", None, BODY % (7, 7)))
    ok(imap.store("1", "+FLAGS", "(\\Flagged)"))
    ok(imap.status("INBOX", "(MESSAGES UIDNEXT)"))
    assert imap.select("alice@localhost")[0] == "NO"
    ok(imap.select("INBOX"))
    tag = imap._new_tag()
    imap.send(tag + b" IDLE\r\n")
    while not imap.readline().startswith(b"+"):
        pass

    def deliver():
        time.sleep(0.2)
        with smtplib.SMTP("127.0.0.1", base + 25, timeout=30) as smtp:
            smtp.sendmail("alice@localhost", ["mox@localhost"], BODY % (8, 8))

    thread = threading.Thread(target=deliver)
    thread.start()
    while b"EXISTS" not in imap.readline():
        pass
    thread.join()
    imap.send(b"DONE\r\n")
    line = imap.readline()
    while not line.startswith(tag):
        line = imap.readline()
    del imap.tagged_commands[tag]
    imap.logout()
print("all said")
