"""Sends every message below a folder with smtplib, over a number of connections at once.

send_corpus.py PORT CONNECTIONS FOLDER RECIPIENT

Messages are files named *.eml. Their lines are made to end in CRLF; a CR elsewhere is left out.
Prints how many were sent; fails on the first that is refused.
"""
import pathlib
import smtplib
import sys
from concurrent.futures import ThreadPoolExecutor


def send(port, recipient, files):
    """Sends these files, one after the other over one connection."""
    with smtplib.SMTP("127.0.0.1", port, timeout=120) as smtp:
        for file in files:
            message = file.read_bytes().replace(b"\r", b"").replace(b"\n", b"\r\n")
            try:
                smtp.sendmail("sender@example.org", [recipient], message, ["BODY=8BITMIME"])
            except smtplib.SMTPException as error:
                raise SystemExit(f"{file}: {error!r}")
    return len(files)


def main():
    port, connections, folder, recipient = sys.argv[1:]
    connections = int(connections)
    files = sorted(pathlib.Path(folder).rglob("*.eml"))
    with ThreadPoolExecutor(connections) as pool:
        runs = [pool.submit(send, int(port), recipient, files[n::connections]) for n in range(connections)]
        print(sum(run.result() for run in runs))


main()
