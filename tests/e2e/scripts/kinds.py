"""Ten real messages of each kind go to a running server with swaks, over a name server of our own, and a table says what
became of them: kinds.py MOXCTL VECTORS. What is expected of each kind is checked; the exit code says whether it holds. Then the
fields before the first message of each kind, and what `moxctl explain` says of it, are printed: with other ids, moments, and names
of authors, and the first few words of those that decided."""

import email, email.utils, imaplib, json, os, re, shutil, socket, struct, subprocess, sys, tempfile, threading, time

MOXCTL, VECTORS = sys.argv[1:3]
EACH = 10
LEARNED = 150
A, PTR, TXT = 1, 12, 16
LISTED = "127.0.0.9"

# What each kind is expected to come to: reply, reason, mailbox.
KINDS = {
    "known sender": ("250", "msgtofull", "INBOX"),
    "first-time sender": ("250", "no-bad-signals", "INBOX"),
    "spoofed From, p=reject": ("550 5.7.26", "dmarc-policy", "Rejects"),
    "SPF fails": ("451 4.3.0", "spf-policy", "Rejects"),
    "address on a list": ("451 4.3.0", "dns-blocklisted", "Rejects"),
    "junk content": ("451 4.3.0", "junk-content", "Rejects"),
    "mailing list": ("250", "list-allow", "Lists"),
}


class Names(threading.Thread):
    """A name server (RFC 1035) that knows `zone`: texts by (name, type)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.zone, self.socket = {}, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]

    def add(self, name, kind, data):
        self.zone.setdefault((name.lower(), kind), []).append(data)

    def run(self):
        while True:
            query, peer = self.socket.recvfrom(4096)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode("latin-1"))
                at += 1 + query[at]
            (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
            question, name = query[12 : at + 5], ".".join(labels).lower()
            found = self.zone.get((name, kind), [])
            exists = found or any(known == name for known, _ in self.zone)
            head = query[:2] + struct.pack("!HHHHH", 0x8480 | (0 if exists else 3), 1, len(found), 0, 0)
            answers = b"".join(
                b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for data in found
            )
            self.socket.sendto(head + question + answers, peer)


def text(string):
    return bytes([len(string)]) + string.encode()


def name(host):
    return b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"


def author(message):
    found = email.utils.parseaddr(str(message["From"] or ""))[1].lower()
    return found if re.fullmatch(r"[a-z0-9._+-]+@[a-z0-9-]+(\.[a-z0-9-]+)+", found) else None


def corpus(place):
    """Messages with one readable author, as [(label, split, path, message)]."""
    subprocess.run(["tar", "--zstd", "-xf", f"{VECTORS}/spamham/spamassassin-open.tar.zst", "-C", place], check=True)
    paths = {f: os.path.join(d, f) for d, _, files in os.walk(place) for f in files}
    found = []
    for line in open(f"{VECTORS}/spamham/manifest.jsonl"):
        entry = json.loads(line)
        path = paths.get(os.path.basename(entry["file"]))
        octets = open(path, "rb").read()
        message = email.message_from_bytes(octets)
        if author(message) and len(octets) < 100_000 and message["Message-ID"]:
            found.append((entry["label"], entry["split"], path, message))
    return found


def choose(messages):
    """Ten messages for each kind, no author's domain in two kinds, so that each domain has one policy."""
    taken, chosen = {}, {kind: [] for kind in KINDS}
    wanted = {
        "junk content": lambda label, split, m: label == "spam" and split == "dev",
        "mailing list": lambda label, split, m: label == "ham" and m["List-Id"],
    }
    is_ham = lambda label, split, m: label == "ham" and not m["List-Id"]
    for kind in ["mailing list", "junk content", *KINDS]:
        for label, split, path, message in messages:
            domain, seen = author(message).split("@")[1], chosen[kind]
            fits = len(seen) < EACH and wanted.get(kind, is_ham)(label, split, message)
            if fits and taken.setdefault(domain, kind) == kind and path not in [p for p, _ in seen]:
                seen.append((path, message))
    return chosen


def write_config(folder, ports, names):
    listener = (
        '"loopback": (ips: ["127.0.0.1"], tls: self_signed, dnsbls: ["bl.example"],'
        f' smtp: (port: {ports[0]}), submission: (port: {ports[1]}, no_require_starttls: true),'
        f' imap: (port: {ports[2]}, no_require_starttls: true))'
    )
    with open(f"{folder}/mox.ron", "w") as out:
        out.write(
            f'(data_dir: "../data", user: "nobody", hostname: "mx.ours.example", listeners: {{{listener}}},'
            f' postmaster: (account: "ann"), resolvers: ["127.0.0.1:{names.port}"], relay: "127.0.0.1:9")'
        )
    rules = '(mailbox: "Lists", headers: {"List-Id": "."}, list_allow_domain: "lists.example")'
    path = f"{folder}/domains.ron"
    old = open(path).read()
    new = old.replace('domain: "ours.example",', f'domain: "ours.example", rulesets: [{rules}],', 1)
    assert new != old, old
    open(path, "w").write(new)


def swaks(port, path, sender, interface="127.0.0.1", more=()):
    """The reply to the message, or to what was refused before."""
    command = ["swaks", "--server", "127.0.0.1", "--port", str(port), "--local-interface", interface]
    command += ["--helo", "mx.far.example", "--from", sender, *more]
    said = subprocess.run([*command, "--data", path], capture_output=True, text=True, errors="replace").stdout
    replies = [line[4:] for line in said.splitlines() if line[:3] in ("<- ", "<**")]
    replies = [reply.strip() for reply in replies if re.match(r"\s*\d{3} ", reply)]
    refused = [reply for reply in replies if reply[0] in "45"]
    return (refused or [r for r in replies if r.startswith("250")] or ["no reply"])[0 if refused else -1]


def example(kind, id, author, header, told):
    """What stands before the message, and its explanation, with what is the same each time in place of what is not."""
    # Ours ends with the first Received.
    fields = re.match(r"(?s).*?\nReceived:[^\n]*\r\n([ \t][^\n]*\n)*", header).group(0)
    domain = re.escape(author.split("@")[1])

    def same(said):
        said = said.replace(id, "8j72tvcuh6gn")
        said = re.sub(re.escape(author), "a@author.example", said, flags=re.IGNORECASE)
        said = re.sub(domain, "author.example", said, flags=re.IGNORECASE)
        said = re.sub(r"(?m)^  message <[^>]*>", "  message <1@author.example>", said)
        said = re.sub(r"((?: word=.*?\)){3})(?: word=.*)", r"\1 ...", said)
        said = re.sub(r"(or: without the words (?:[^,\n]*, ){3})[^\n]*?((?:, \d+ more)? \(probability)", r"\1...\2", said)
        said = re.sub(r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z", "2026-01-02T03:04:05Z", said)
        said = re.sub(r"\w{3}, \d+ \w{3} \d{4} [0-9:]+ [+-]\d{4}", "Fri, 2 Jan 2026 03:04:05 +0000", said)
        return said.replace("\r\n", "\n")

    return f"\n### {kind[0].upper()}{kind[1:]}\n```\n{same(fields)}```\n```\n{same(told)}```\n"


def main():
    place = tempfile.mkdtemp(prefix="kinds")
    os.chmod(place, 0o755)
    server = None
    try:
        names = Names()
        names.start()
        chosen = choose(corpus(f"{place}"))
        ports = []
        for _ in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                ports.append(free.getsockname()[1])
        said = subprocess.run(
            [MOXCTL, "quickstart", "ann@ours.example", "--dir", f"{place}/mail", "--hostname", "mx.ours.example"],
            capture_output=True, text=True, check=True,
        ).stdout
        password = next(l.strip() for l in said.splitlines() if len(l) == 27 and l.count("-") == 3)
        folder = f"{place}/mail/config"
        write_config(folder, ports, names)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "nobody", f"{place}/mail"], check=True)
        log = open(f"{place}/log", "w")
        moxctl = [MOXCTL, "--config", f"{folder}/mox.ron"]
        server = subprocess.Popen([*moxctl, "serve"], stdout=log, stderr=log)
        for _ in range(100):
            if "mox serves" in open(f"{place}/log").read():
                break
            time.sleep(0.1)

        for address, host in (("127.0.0.1", "mx.far.example"), (LISTED, "listed.far.example")):
            names.add(".".join(reversed(address.split("."))) + ".in-addr.arpa", PTR, name(host))
            names.add(host, A, socket.inet_aton(address))
        for listed in (LISTED, "127.0.0.2"):
            names.add(".".join(reversed(listed.split("."))) + ".bl.example", A, socket.inet_aton("127.0.0.2"))
        names.add("bl.example", TXT, text("a list"))
        names.add("lists.example", TXT, text("v=spf1 ip4:127.0.0.0/8 -all"))
        # Who sends must be one who could be answered.
        for domain in ("lists.example", "far.example"):
            names.add(domain, A, socket.inet_aton("127.0.0.1"))
        for kind, messages in chosen.items():
            for domain in {author(m).split("@")[1] for _, m in messages}:
                spf = "-all" if kind in ("SPF fails",) else "ip4:127.0.0.0/8 -all"
                names.add(domain, A, socket.inet_aton("127.0.0.1"))
                if kind != "spoofed From, p=reject":
                    names.add(domain, TXT, text(f"v=spf1 {spf}"))
                else:
                    names.add(f"_dmarc.{domain}", TXT, text("v=DMARC1; p=reject"))

        # The filter learns from other mail of the corpus, and Ann has written to those she knows.
        imap = imaplib.IMAP4("127.0.0.1", ports[2])
        imap.login("ann@ours.example", password)
        imap.create("Neutral")
        used = {path for messages in chosen.values() for path, _ in messages}
        learned = {"ham": 0, "spam": 0}
        for label, split, path, message in corpus(place):
            if split == "train" and path not in used and learned[label] < LEARNED:
                learned[label] += 1
                flag = "$Junk" if label == "spam" else "$NotJunk"
                octets = re.sub(rb"\r?\n", b"\r\n", open(path, "rb").read())
                imap.append("Neutral", f"({flag})", None, octets)
        for path, message in chosen["known sender"]:
            to = author(message)
            note = f"{place}/note"
            open(note, "w").write(f"From: ann@ours.example\nTo: {to}\nSubject: Hello\n\nHello.\n")
            auth = ("--to", to, "--auth", "PLAIN", "--auth-user", "ann@ours.example", "--auth-password", password)
            reply = swaks(ports[1], note, "ann@ours.example", more=auth)
            assert reply.startswith("250"), reply
        time.sleep(3)

        rows, wrong, shown, examples = [], 0, set(), ""
        for kind, messages in chosen.items():
            came = {}
            for path, message in messages:
                sender = {"mailing list": "owner@lists.example", "spoofed From, p=reject": "x@far.example"}
                sender = sender.get(kind, author(message))
                octets = re.sub(rb"\A(>?From [^\n]*\n)", b"", open(path, "rb").read())
                open(f"{place}/one", "wb").write(octets)
                interface = LISTED if kind == "address on a list" else "127.0.0.1"
                reply = swaks(ports[0], f"{place}/one", sender, interface, ("--to", "ann@ours.example"))
                id = re.search(r"(?:\(id |id[ =])([a-z0-9]+)", reply)
                id = id.group(1) if id else message["Message-ID"].strip()
                said = subprocess.run([*moxctl, "explain", id, "--json", "--max", "1"], capture_output=True, text=True)
                if said.returncode != 0:
                    raise SystemExit(f"{kind}, {path}: {reply!r}, then: {said.stderr}")
                record = json.loads(said.stdout)[0]
                judged = record["recipients"][0]
                code = "250" if reply.startswith("250") else " ".join(reply.split()[:2])
                decision = judged["decision"]
                row = (code, decision["verdict"], decision["reason"], judged["placed"] or "nowhere")
                came[row] = came.get(row, 0) + 1
                again = subprocess.run([*moxctl, "explain", id, "--max", "1", "--recompute"], capture_output=True)
                wrong += again.returncode != 0
                if row == (*KINDS[kind][:1], decision["verdict"], *KINDS[kind][1:]) and kind not in shown:
                    shown.add(kind)
                    imap.select(judged["placed"])
                    found = imap.search(None, "HEADER", "X-Mox-Decision", f'"{record["id"]}"')[1][0].split()
                    header = imap.fetch(found[-1], "(BODY.PEEK[HEADER])")[1][0][1].decode(errors="replace")
                    told = subprocess.run([*moxctl, "explain", id, "--max", "1"], capture_output=True, text=True)
                    examples += example(kind, record["id"], author(message), header, told.stdout)
            code, reason, mailbox = KINDS[kind]
            expected = sum(n for (c, _, r, m), n in came.items() if (c, r, m) == (code, reason, mailbox))
            # What real content is held for is the filter's to say: it may err once or twice.
            least = EACH if kind not in ("first-time sender", "junk content", "address on a list") else EACH - 2
            wrong += expected < least
            for (c, v, r, m), n in sorted(came.items(), key=lambda item: -item[1]):
                rows.append((kind, str(n), c, v, r, m))
        print("| kind | messages | reply | verdict | reason | mailbox |\n|---|---|---|---|---|---|")
        for row in rows:
            print("| " + " | ".join(row) + " |")
        print(examples, end="")
        return 1 if wrong else 0
    finally:
        if server:
            server.terminate()
            server.wait()
        if os.environ.get("KEEP"):
            print(place, file=sys.stderr)
        else:
            shutil.rmtree(place)


sys.exit(main())
