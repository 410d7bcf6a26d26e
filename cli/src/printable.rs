//! What strangers wrote, for a terminal.

/// The text with a blank in place of each control character: nothing may move a terminal's cursor, or end a line or a cell.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
