# Reads a delivery status notification with Python's own email package, and prints what a mail program would go by.
import email
import email.policy
import sys

message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
defects = [str(defect) for part in message.walk() for defect in part.defects]
report = message["Content-Type"].params.get("report-type")
print(message.get_content_type(), report, defects)
text, status, original = message.iter_parts()
print(text.get_content_type(), status.get_content_type(), original.get_content_type())
for group in status.get_payload()[1:]:
    kind, address = group["Final-Recipient"].split(";")
    print(kind.strip(), address.strip(), group["Action"], group["Status"])
