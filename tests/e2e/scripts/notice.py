# Reads a notification with Python's own email package, and prints the fields of each of its groups as a mail program would have them.
import email
import email.policy
import json
import sys

message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert message.get_content_type() == 'multipart/report', message.get_content_type()
assert message.get_param('report-type') == 'delivery-status'
parts = list(message.iter_parts())
status = parts[1]
assert status.get_content_type() == 'message/delivery-status', status.get_content_type()
groups = [{name.lower(): str(value) for name, value in group.items()} for group in status.get_payload()]
defects = [str(defect) for part in message.walk() for defect in part.defects]
print(json.dumps({'groups': [group for group in groups if group], 'defects': defects, 'parts': len(parts)}))
