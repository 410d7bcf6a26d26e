"""Sends one message, read from stdin, with smtplib and a password.

smtp_client.py HOST PORT starttls|implicit CERTIFICATE USER PASSWORD FROM TO
"""
import smtplib
import ssl
import sys

host, port, tls, certificate, user, password, sender, recipient = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
message = sys.stdin.buffer.read()
if tls == "implicit":
    smtp = smtplib.SMTP_SSL(host, int(port), context=context, timeout=30)
else:
    smtp = smtplib.SMTP(host, int(port), timeout=30)
    smtp.starttls(context=context)
with smtp:
    smtp.login(user, password)
    refused = smtp.sendmail(sender, [recipient], message)
    assert refused == {}, refused
