//! Return-Path and Delivered-To, and addresses as header fields carry them.

use mox_address::Path;

/// `Return-Path: <sender>` with its line end, RFC 5321 4.4; `None` is the null sender. The domain is in A-labels.
pub fn return_path(sender: Option<&Path>) -> String {
    match sender {
        Some(path) => format!("Return-Path: <{}>\r\n", with_a_labels(path)),
        None => "Return-Path: <>\r\n".to_owned(),
    }
}

/// `Delivered-To: mailbox` with its line end, RFC 9228. The domain is in A-labels.
pub fn delivered_to(recipient: &Path) -> String {
    format!("Delivered-To: {}\r\n", with_a_labels(recipient))
}

/// The address with its domain in A-labels; only the local part may still have non-ASCII characters.
pub(crate) fn with_a_labels(path: &Path) -> String {
    match path.domain().and_then(|d| d.to_ascii().ok()) {
        Some(domain) => format!("{}@{domain}", path.local),
        None => path.to_string(),
    }
}
