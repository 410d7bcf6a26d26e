"""Signs and verifies with dkimpy.

verify ZONE FILE...: for each file one line with the outcome of each of its signatures, first one first.
sign ALGORITHM KEY SELECTOR DOMAIN HEADER/BODY FILE: the DKIM-Signature field for a file.

A zone has one TXT record a line: name, tab, text. Keys are PKCS #8 in PEM.
"""

import base64
import re
import sys

import dkim


def element(der):
    """The content of the first DER element, and what stands behind it."""
    length, at = der[1], 2
    if length & 0x80:
        at += length & 0x7F
        length = int.from_bytes(der[2:at], "big")
    return der[at : at + length], der[at + length :]


def inner_key(pem):
    """The key inside of PKCS #8: version, algorithm, octet string."""
    body = re.search(rb"-----BEGIN PRIVATE KEY-----(.*)-----END", pem, re.DOTALL).group(1)
    rest, _ = element(base64.b64decode(body))
    for _ in range(2):
        _, rest = element(rest)
    key, _ = element(rest)
    return key


def private_key(algorithm, pem):
    """As dkimpy wants it."""
    key = inner_key(pem)
    if algorithm == "ed25519-sha256":
        seed, _ = element(key)
        return base64.b64encode(seed)
    text = base64.encodebytes(key).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{text}-----END RSA PRIVATE KEY-----\n".encode()


def verify(zone, files):
    with open(zone, "rb") as lines:
        records = dict(line.rstrip(b"\n").split(b"\t", 1) for line in lines)

    def txt(name, timeout=None):
        return records.get(name.rstrip(b"."))

    for file in files:
        with open(file, "rb") as message:
            message = message.read()
        verifier = dkim.DKIM(message)
        count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
        words = []
        for place in range(count):
            try:
                words.append("pass" if verifier.verify(idx=place, dnsfunc=txt) else "fail")
            except dkim.DKIMException as error:
                words.append(f"error({error})".replace(" ", "_"))
        print(" ".join(words))


def sign(algorithm, key, selector, domain, canonical, file):
    with open(key, "rb") as pem:
        key = private_key(algorithm, pem.read())
    with open(file, "rb") as message:
        message = message.read()
    field = dkim.sign(
        message,
        selector.encode(),
        domain.encode(),
        key,
        canonicalize=tuple(half.encode() for half in canonical.split("/")),
        signature_algorithm=algorithm.encode(),
    )
    sys.stdout.buffer.write(field)


if sys.argv[1] == "verify":
    verify(sys.argv[2], sys.argv[3:])
else:
    sign(*sys.argv[2:])
