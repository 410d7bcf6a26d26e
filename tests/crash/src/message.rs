//! Messages whose names say all about them, so that half a message, or another one, is seen at once.

/// The message of this name, which ends with its size.
pub fn message(name: &str) -> Vec<u8> {
    let size = name.rsplit('-').next().and_then(|size| size.parse().ok());
    // Only a damaged name has none.
    let size: usize = size.unwrap_or_default();
    let mut text = format!("From: u0@localhost\r\nX-Name: {name}\r\n\r\n");
    let mut line = 0;
    while text.len() < size {
        text.push_str(&format!("{line} {name} abcdefghijklmnopqrstuvwxyz\r\n"));
        line += 1;
    }
    text.push_str("end\r\n");
    text.into_bytes()
}

/// The name in a message; `None` in what is no message of ours.
pub fn name_in(content: &[u8]) -> Option<String> {
    let head = &content[..content.len().min(4096)];
    let text = String::from_utf8_lossy(head);
    let (_, rest) = text.split_once("X-Name: ")?;
    let (name, _) = rest.split_once("\r\n")?;
    Some(name.to_owned())
}

/// Whether a stored message is the one that was sent: after trace fields of the server's, or as it came.
pub fn is_whole(content: &[u8], name: &str) -> bool {
    let expected = message(name);
    content == expected || (content.starts_with(b"Return-Path:") && content.ends_with(&expected))
}
