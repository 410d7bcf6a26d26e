//! The words of SMTP in transcripts.

pub mod client;
pub mod server;

use mox_address::Reply;

use crate::escape::{escape, unescape};

/// `550 5.1.1 No such user`, or `250 fine` for a reply without an enhanced code.
pub fn reply_text(reply: &Reply) -> String {
    let text = escape(reply.text.as_bytes());
    match reply.enhanced {
        Some(enhanced) => format!("{} {enhanced} {text}", reply.code),
        None => format!("{} {text}", reply.code),
    }
}

/// Reads what [`reply_text`] wrote.
pub fn parse_reply(text: &str) -> Option<Reply> {
    let (code, rest) = text.split_once(' ')?;
    let code: u16 = code.parse().ok()?;
    if !(200..600).contains(&code) {
        return None;
    }
    let plain = |text: &str| String::from_utf8(unescape(text).ok()?).ok();
    if let Some((enhanced, text)) = rest.split_once(' ') {
        let mut parts = enhanced.split('.').map(str::parse::<u16>);
        let all = (parts.next(), parts.next(), parts.next(), parts.next());
        if let (Some(Ok(class)), Some(Ok(subject)), Some(Ok(detail)), None) = all
            && class == code / 100
        {
            return Some(Reply::new(code, subject, detail, plain(text)?));
        }
    }
    Some(Reply::plain(code, plain(rest)?))
}

/// What stands between quotes, with escapes.
fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_they_were_written() {
        for reply in [
            Reply::new(550, 1, 1, "No such \"user\" \\ here"),
            Reply::plain(220, "mx ESMTP"),
            Reply::plain(250, "mx\nPIPELINING\nSIZE 5"),
            Reply::plain(250, "2.0 is no code"),
            Reply::new(452, 3, 1, ""),
        ] {
            assert_eq!(parse_reply(&reply_text(&reply)).unwrap(), reply);
        }
        assert_eq!(parse_reply("99 x"), None);
        assert_eq!(parse_reply("x"), None);
    }
}
