"""Random operations on the mailboxes of an account with imaplib, which keeps a copy of its own of what it was told.

usage: imap_random.py PORT USER PASSWORD ops SEED COUNT
       imap_random.py PORT USER PASSWORD list

`ops` does so many operations and then compares its copy with what a new connection is
told. `list` prints each message: mailbox, Message-ID, flags that a Maildir knows.
"""

import imaplib
import random
import re
import sys

MAILBOXES = ["INBOX", "one", "two"]
FLAGS = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft"]
KNOWN = set(FLAGS)


def connect(port, user, password):
    imap = imaplib.IMAP4("127.0.0.1", port)
    imap.login(user, password)
    return imap


def ok(reply):
    status, data = reply
    assert status == "OK", (status, data)
    return data


def message(name):
    return (
        f"From: a@x.example\r\nTo: b@x.example\r\nSubject: {name}\r\nMessage-ID: <{name}@x.example>\r\n"
        f"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nText of {name}.\r\n"
    ).encode()


def fetched(imap, mailbox):
    """UIDs of a mailbox with Message-ID and flags, as the server tells."""
    ok(imap.select(mailbox, readonly=True))
    data = ok(imap.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"))
    found = {}
    for item in data:
        if not isinstance(item, tuple):
            continue
        head, body = item[0].decode(), item[1].decode()
        uid = int(re.search(r"UID (\d+)", head).group(1))
        flags = re.search(r"FLAGS \(([^)]*)\)", head).group(1).split()
        found[uid] = (re.search(r"<(.*)>", body).group(1), set(flags) & KNOWN)
    return found


def uids(text):
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


class Copy:
    """What imaplib's user believes is in the mailboxes."""

    def __init__(self, imap, seed):
        self.imap = imap
        self.rng = random.Random(seed)
        self.seed = seed
        self.boxes = {}
        for mailbox in MAILBOXES:
            imap.create(mailbox)
            self.boxes[mailbox] = fetched(imap, mailbox)
        self.made = 0

    def operation(self):
        kinds = [self.append, self.store, self.store, self.copy, self.move, self.expunge]
        self.rng.choice(kinds)()

    def chosen(self):
        """A mailbox, selected, and one of its messages."""
        mailbox = self.rng.choice([m for m in MAILBOXES if self.boxes[m]])
        ok(self.imap.select(mailbox))
        return mailbox, self.rng.choice(sorted(self.boxes[mailbox]))

    def append(self):
        mailbox = self.rng.choice(MAILBOXES)
        name = f"s{self.seed}n{self.made}"
        self.made += 1
        flags = self.rng.sample(FLAGS, self.rng.randrange(3))
        data = ok(self.imap.append(mailbox, " ".join(flags), None, message(name)))
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1))
        self.boxes[mailbox][uid] = (f"{name}@x.example", set(flags))

    def store(self):
        mailbox, uid = self.chosen()
        flag, add = self.rng.choice(FLAGS), self.rng.random() < 0.6
        data = ok(self.imap.uid("STORE", str(uid), "+FLAGS" if add else "-FLAGS", f"({flag})"))
        name, flags = self.boxes[mailbox][uid]
        flags = flags | {flag} if add else flags - {flag}
        told = [d.decode() for d in data if d]
        if told:
            said = re.search(r"FLAGS \(([^)]*)\)", told[-1]).group(1).split()
            assert set(said) & KNOWN == flags, (told, flags)
        self.boxes[mailbox][uid] = (name, flags)

    def transfer(self, verb):
        mailbox, uid = self.chosen()
        to = self.rng.choice([m for m in MAILBOXES if m != mailbox])
        ok(self.imap.uid(verb, str(uid), to))
        # imaplib keeps the codes of responses under their names.
        _, told = self.imap.response("COPYUID")
        (new,) = uids(told[-1].decode().split()[2])
        return mailbox, uid, to, new

    def copy(self):
        mailbox, uid, to, new = self.transfer("COPY")
        name, flags = self.boxes[mailbox][uid]
        self.boxes[to][new] = (name, set(flags))

    def move(self):
        mailbox, uid, to, new = self.transfer("MOVE")
        self.boxes[to][new] = self.boxes[mailbox].pop(uid)

    def expunge(self):
        mailbox, uid = self.chosen()
        ok(self.imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)"))
        ok(self.imap.uid("EXPUNGE", str(uid)))
        del self.boxes[mailbox][uid]


def main():
    port, user, password, what, *rest = sys.argv[1:]
    imap = connect(int(port), user, password)
    if what == "ops":
        copy = Copy(imap, int(rest[0]))
        for _ in range(int(rest[1])):
            copy.operation()
        other = connect(int(port), user, password)
        for mailbox in MAILBOXES:
            found = fetched(other, mailbox)
            assert found == copy.boxes[mailbox], (mailbox, found, copy.boxes[mailbox])
    else:
        for mailbox in MAILBOXES:
            for name, flags in fetched(imap, mailbox).values():
                print(mailbox, name, *sorted(flags))
    imap.logout()


main()
