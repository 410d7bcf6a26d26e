"""Waits in IDLE (RFC 2177) for one new message in the Inbox, with imaplib's connection underneath.

imap_idle.py PORT USER PASSWORD

Prints "idling", then the subject of what has come. imaplib of this age has no IDLE of its own.
"""
import imaplib
import sys

port, user, password = sys.argv[1:]
imap = imaplib.IMAP4("127.0.0.1", int(port), timeout=30)
imap.login(user, password)
count = int(imap.select("INBOX")[1][0])
tag = imap._new_tag()
imap.send(tag + b" IDLE\r\n")
line = imap.readline()
assert line.startswith(b"+ "), line
print("idling", flush=True)
while True:
    line = imap.readline()
    assert line.startswith(b"* "), line
    if line.strip() == b"* %d EXISTS" % (count + 1):
        break
imap.send(b"DONE\r\n")
while not line.startswith(tag):
    line = imap.readline()
assert line.startswith(tag + b" OK"), line
# imaplib has not seen the tag pass.
del imap.tagged_commands[tag]
status, data = imap.fetch(str(count + 1), "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
assert status == "OK", status
print(data[0][1].decode().strip(), flush=True)
imap.logout()
