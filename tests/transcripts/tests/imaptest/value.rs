//! Responses and expectations as imaptest sees them: atoms, strings and lists.

/// One element of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nil,
    /// An atom, a quoted string or a literal.
    Text(Vec<u8>),
    List(Vec<Self>),
}

impl Value {
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nil => Some(b"NIL"),
            Self::List(_) => None,
        }
    }
}

/// The elements of a line whose literals are in place.
pub fn parse(line: &[u8]) -> Vec<Value> {
    let mut rest = line;
    list(&mut rest, false)
}

fn list(rest: &mut &[u8], inside: bool) -> Vec<Value> {
    let mut values = Vec::new();
    loop {
        match rest {
            [] => return values,
            [b' ', after @ ..] => *rest = after,
            [b')', after @ ..] if inside => {
                *rest = after;
                return values;
            }
            [b'(', after @ ..] => {
                *rest = after;
                values.push(Value::List(list(rest, true)));
            }
            [b'"', after @ ..] => {
                *rest = after;
                values.push(Value::Text(quoted(rest)));
            }
            _ => values.push(literal(rest).unwrap_or_else(|| atom(rest, inside))),
        }
    }
}

fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    loop {
        match rest {
            [] => return text,
            [b'"', after @ ..] => {
                *rest = after;
                return text;
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                text.push(*byte);
                *rest = after;
            }
        }
    }
}

fn literal(rest: &mut &[u8]) -> Option<Value> {
    let inside = rest.strip_prefix(b"~").unwrap_or(rest).strip_prefix(b"{")?;
    let end = inside.windows(3).position(|three| three == b"}\r\n")?;
    let length: usize = str::from_utf8(&inside[..end]).ok()?.parse().ok()?;
    let from = end + 3;
    let text = inside.get(from..from + length)?;
    *rest = &inside[from + length..];
    Some(Value::Text(text.to_vec()))
}

fn atom(rest: &mut &[u8], inside: bool) -> Value {
    let ends = |b: &u8| matches!(b, b' ' | b'(') || (inside && *b == b')');
    let length = rest
        .iter()
        .skip(1)
        .position(ends)
        .map_or(rest.len(), |at| at + 1);
    let (text, after) = rest.split_at(length);
    *rest = after;
    match text.eq_ignore_ascii_case(b"NIL") {
        true => Value::Nil,
        false => Value::Text(text.to_vec()),
    }
}

#[test]
fn lists_strings_and_literals_are_told_apart() {
    let text = |t: &str| Value::Text(t.into());
    let line = b"1 FETCH (FLAGS (\\Seen) BODY[HEADER.FIELDS (a)] {3}\r\n) ( X NIL \"q\\\"\")";
    let fetch = vec![
        text("FLAGS"),
        Value::List(vec![text("\\Seen")]),
        text("BODY[HEADER.FIELDS"),
        Value::List(vec![text("a")]),
        text("]"),
        text(") ("),
        text("X"),
        Value::Nil,
        text("q\""),
    ];
    assert_eq!(parse(line), [text("1"), text("FETCH"), Value::List(fetch)]);
}
