//! What stands behind MAIL and RCPT: a path and parameters.

use std::ops::Range;

use super::names::{is_host, is_word};
use super::{Class, Span, hosts};

/// `FROM:<local@domain> PARAM=value ...`, which begins at `start`.
pub(super) fn spans(start: usize, text: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let Some(path) = path(text) else {
        return vec![(start..start + text.len(), Class::Words)];
    };
    for (range, class) in path.spans(text) {
        spans.push((start + range.start..start + range.end, class));
    }
    let mut at = path.end;
    let behind = text.get(path.end..).unwrap_or_default();
    for word in behind.split_inclusive(|&b| b == b' ') {
        let plain = word.strip_suffix(b" ").unwrap_or(word);
        let found = parameter(plain);
        spans.extend(
            found
                .into_iter()
                .map(|(range, class)| (start + at + range.start..start + at + range.end, class)),
        );
        at += word.len();
    }
    spans.retain(|(range, _)| !range.is_empty());
    spans
}

/// Where its parts are.
struct Path {
    local: Range<usize>,
    /// The source route without its colon, and the domain.
    hosts: [Range<usize>; 2],
    /// Behind `>`.
    end: usize,
}

impl Path {
    fn spans(&self, text: &[u8]) -> Vec<Span> {
        let local = text.get(self.local.clone()).unwrap_or_default();
        // What is refused for how it is written stays so.
        let class = match is_local(local) {
            true => Class::Local,
            false => Class::Words,
        };
        let mut spans = vec![(self.local.clone(), class)];
        for host in &self.hosts {
            let octets = text.get(host.clone()).unwrap_or_default();
            let mut at = host.start;
            for name in octets.split(|b| b"@,".contains(b)) {
                spans.extend(hosts::spans(at, name));
                at += name.len() + 1;
            }
        }
        spans.sort_by_key(|(range, _)| range.start);
        spans
    }
}

fn path(text: &[u8]) -> Option<Path> {
    let colon = text.iter().position(|&b| b == b':')?;
    let keyword = text.get(..colon)?.trim_ascii();
    if !is_word(keyword, &["from", "to"]) {
        return None;
    }
    let blanks = text.get(colon + 1..)?.iter().take_while(|&&b| b == b' ');
    let open = colon + 1 + blanks.count();
    if text.get(open) != Some(&b'<') {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let mut route = open + 1;
    let (mut at, mut close) = (None, None);
    for (place, &octet) in text.iter().enumerate().skip(open + 1) {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            // Behind a source route, not inside of an address literal.
            b':' if route == open + 1 && text.get(open + 1) == Some(&b'@') => route = place + 1,
            b'@' => at = Some(place),
            b'>' => {
                close = Some(place);
                break;
            }
            _ => {}
        }
    }
    let close = close?;
    let at = at.filter(|at| *at >= route);
    Some(Path {
        local: route..at.unwrap_or(close),
        hosts: [
            open + 1..route.max(open + 2) - 1,
            at.map_or(close, |at| at + 1)..close,
        ],
        end: close + 1,
    })
}

/// A quoted string, or words with dots between them.
fn is_local(text: &[u8]) -> bool {
    if let [b'"', _, .., b'"'] = text {
        return true;
    }
    let is_letter =
        |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(b) || !b.is_ascii();
    text.split(|&b| b == b'.')
        .all(|word| !word.is_empty() && word.iter().all(is_letter))
}

/// What of one word is private.
fn parameter(word: &[u8]) -> Vec<Span> {
    let equals = word.iter().position(|&b| b == b'=');
    let value = equals.map_or(word.len(), |at| at + 1)..word.len();
    let octets = word.get(value.clone()).unwrap_or_default();
    let name = word.get(..equals.unwrap_or(word.len())).unwrap_or_default();
    let is_plain = match name.to_ascii_uppercase().as_slice() {
        b"SIZE" => octets.iter().all(u8::is_ascii_digit),
        b"BODY" => is_word(octets, &["7bit", "8bitmime", "binarymime"]),
        b"SMTPUTF8" | b"REQUIRETLS" => octets.is_empty(),
        b"RET" => is_word(octets, &["full", "hdrs"]),
        b"MT-PRIORITY" => octets.iter().all(|b| b.is_ascii_digit() || *b == b'-'),
        b"HOLDFOR" => octets.iter().all(u8::is_ascii_digit),
        b"HOLDUNTIL" => octets
            .iter()
            .all(|b| b.is_ascii_digit() || b"-:.TZtz".contains(b)),
        b"ENVID" => {
            let decoded = mox_smtp::wire::xtext_decode(octets);
            let is_printable = |text: Vec<u8>| text.iter().all(|b| matches!(b, b' '..=b'~'));
            if decoded.is_some_and(is_printable) {
                return vec![(value, Class::Text)];
            }
            // One that is refused is refused in other words too: behind a plus sign there are no digits then.
            let mut start = value.start;
            let spans = octets.split(|&b| b == b'+').map(|piece| {
                let span = start..start + piece.len();
                start = span.end + 1;
                (span, Class::Words)
            });
            return spans.collect();
        }
        b"NOTIFY" => octets
            .split(|&b| b == b',')
            .all(|when| is_word(when, &["never", "success", "failure", "delay"])),
        b"ORCPT" | b"AUTH" if octets == b"<>" => true,
        b"ORCPT" | b"AUTH" => return address(value, octets),
        _ => return vec![(0..word.len(), Class::Words)],
    };
    match is_plain {
        true => Vec::new(),
        false => vec![(value, Class::Words)],
    }
}

/// An address as xtext (RFC 3461 4), in which `@` may be written `+40`, behind its type.
fn address(value: Range<usize>, octets: &[u8]) -> Vec<Span> {
    let kind = octets.iter().position(|&b| b == b';');
    let kind = kind.filter(|&at| {
        let kind = octets.get(..at).unwrap_or_default();
        is_word(kind, &["rfc822", "utf-8", "x400", "unknown"])
    });
    let from = kind.map_or(0, |at| at + 1);
    let rest = octets.get(from..).unwrap_or_default();
    let plain = rest.iter().rposition(|&b| b == b'@').map(|at| (at, 1));
    let coded = rest.windows(3).rposition(|w| w == b"+40").map(|at| (at, 3));
    let (end, width) = plain.or(coded).unwrap_or((rest.len(), 0));
    let domain = rest.get(end + width..).unwrap_or_default();
    let start = value.start + from;
    let mut spans = vec![(start..start + end, Class::Local)];
    if !domain.is_empty() && !is_host(domain) {
        spans.push((start + end + width..value.end, Class::Words));
    }
    spans
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use Class::{Local, Network, Words};

    fn is(text: &str, expected: &[(&str, Class)]) {
        let found = spans(3, text.as_bytes());
        let found: Vec<_> = found
            .into_iter()
            .map(|(range, class)| (&text[range.start - 3..range.end - 3], class))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn local_parts_are_found_wherever_they_stand() {
        is("FROM:<>", &[]);
        is(
            "FROM:<ann@x.example> ENVID=a+2Bb HOLDFOR=60",
            &[("ann", Local), ("a+2Bb", Class::Text)],
        );
        is(
            "FROM:<ann@x.example> SIZE=5 BODY=8BITMIME AUTH=<>",
            &[("ann", Local)],
        );
        is("to: <@r.example,@s:\"a >b\"@y>", &[("\"a >b\"", Local)]);
        is("TO:<ann@[IPv6:2001:db8::1]>", &[("ann", Local)]);
        is(
            "TO:<@[10.1.2.3],@[10.1.2.4]:ann@[IPv6:fe80::1]>",
            &[
                ("10.1.2.3", Network),
                ("10.1.2.4", Network),
                ("ann", Local),
                ("fe80::1", Network),
            ],
        );
        is("TO:<ann>", &[("ann", Local)]);
        is(
            "TO:<bob@y> ORCPT=rfc822;Ann+2Bx+40z.example NOTIFY=NEVER,DELAY",
            &[("bob", Local), ("Ann+2Bx", Local)],
        );
        is(
            "TO:<bob@y> ORCPT=rfc822;ann@z",
            &[("bob", Local), ("ann", Local)],
        );
        is("FROM:<a@y> AUTH=ann+40z", &[("a", Local), ("ann", Local)]);
        is("FROM:<a@y> AUTH=ann", &[("a", Local), ("ann", Local)]);
    }

    #[test]
    fn what_is_not_understood_is_private() {
        is("ann@x.example", &[("ann@x.example", Words)]);
        is("FROM: ann <ann@x>", &[("FROM: ann <ann@x>", Words)]);
        is("FROM:ann@x", &[("FROM:ann@x", Words)]);
        is("TO:<.ann@x>", &[(".ann", Words)]);
        is("TO:<a b@x>", &[("a b", Words)]);
        is("TO:<ann@x", &[("TO:<ann@x", Words)]);
        is("TO:<ann@x ann>", &[("ann", Local), ("x ann", Words)]);
        is(
            "TO:<a@x> SIZE=ann BODY=ann ANN RET=ann ORCPT=ann;b@c d ENVID=ann",
            &[
                ("a", Local),
                ("ann", Words),
                ("ann", Words),
                ("ANN", Words),
                ("ann", Words),
                ("ann;b", Local),
                ("d", Words),
                ("ann", Class::Text),
            ],
        );
    }
}
