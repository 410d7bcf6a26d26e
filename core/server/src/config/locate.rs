//! From a setting to its place in the text, and back.

use core::fmt::Write;
use core::ops::Range;

use ron2::ast::{Document, Expr, StructBody, StructField, parse_document};

/// One step into a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A field of a struct.
    Field(&'a str),
    /// The value under a key of a map.
    Key(&'a str),
    /// An item of a list, from 0.
    Item(usize),
}

/// A configuration text with the place of everything in it.
#[derive(Debug)]
pub(super) struct Located<'a> {
    text: &'a str,
    document: Option<Document<'a>>,
}

impl<'a> Located<'a> {
    /// Text that is no RON has no places but the beginning of the file.
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            document: parse_document(text).ok(),
        }
    }

    /// The value at the end of a path, if the text has it.
    pub(super) fn find(&self, path: &[Step<'_>]) -> Option<&Expr<'a>> {
        let mut at = self.root()?;
        for step in path {
            at = child(at, *step)?;
        }
        Some(at)
    }

    /// Byte offset of what a path names, or of the innermost thing on the way to it that exists.
    pub(super) fn offset(&self, path: &[Step<'_>]) -> usize {
        let Some(mut at) = self.root() else { return 0 };
        for step in path {
            match child(at, *step) {
                Some(next) => at = next,
                None => break,
            }
        }
        at.span().start_offset
    }

    /// The keys of the map at a path, as they are written.
    pub(super) fn keys(&self, path: &[Step<'_>]) -> Vec<String> {
        let Some(Expr::Map(map)) = self.find(path) else {
            return Vec::new();
        };
        let key = |key: &Expr<'_>| match key {
            Expr::String(text) => Some(text.value.clone()),
            _ => None,
        };
        map.entries.iter().filter_map(|e| key(&e.key)).collect()
    }

    /// Byte offset of a map's key, for problems with the key itself.
    pub(super) fn key_offset(&self, path: &[Step<'_>], key: &str) -> usize {
        let keys = match self.find(path) {
            Some(Expr::Map(map)) => map.entries.iter().map(|e| &e.key),
            _ => return self.offset(path),
        };
        keys.filter(|k| matches!(k, Expr::String(s) if s.value == key))
            .map(|k| k.span().start_offset)
            .next_back()
            .unwrap_or_else(|| self.offset(path))
    }

    /// The innermost setting around a byte offset, written out, and the range of its value.
    pub(super) fn around(&self, offset: usize) -> (String, Option<Range<usize>>) {
        let mut setting = String::new();
        let mut range = None;
        let mut at = self.root();
        while let Some(expr) = at {
            at = None;
            for (step, value) in children(expr) {
                let span = value.span();
                if (span.start_offset..=span.end_offset).contains(&offset) {
                    push_step(&mut setting, step);
                    range = Some(span.start_offset..span.end_offset);
                    at = Some(value);
                    break;
                }
            }
        }
        (setting, range)
    }

    /// Every key that stands twice in the same map: the setting, and the offset of the second one.
    pub(super) fn duplicate_keys(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut open: Vec<(String, &Expr<'_>)> = self
            .root()
            .map(|e| (String::new(), e))
            .into_iter()
            .collect();
        while let Some((setting, expr)) = open.pop() {
            let mut seen = std::collections::BTreeSet::new();
            if let Expr::Map(map) = unwrap(expr) {
                for entry in &map.entries {
                    if let Expr::String(key) = &entry.key
                        && !seen.insert(key.value.as_str())
                    {
                        let mut setting = setting.clone();
                        push_step(&mut setting, Step::Key(&key.value));
                        found.push((setting, entry.key.span().start_offset));
                    }
                }
            }
            open.extend(children(expr).into_iter().map(|(step, value)| {
                let mut setting = setting.clone();
                push_step(&mut setting, step);
                (setting, value)
            }));
        }
        found
    }

    /// Line and column, in characters, of a byte offset; both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }

    /// Byte offset of a line and column, both from 1.
    pub(super) fn offset_of(&self, line: usize, column: usize) -> usize {
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = self.text.get(start..).unwrap_or_default();
        start
            + rest
                .chars()
                .take(column.saturating_sub(1))
                .map(char::len_utf8)
                .sum::<usize>()
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    fn root(&self) -> Option<&Expr<'a>> {
        self.document.as_ref()?.value.as_ref()
    }
}

/// A path as people read it: `listeners."public".ips[1]`.
pub(super) fn written(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        push_step(&mut out, *step);
    }
    out
}

fn push_step(out: &mut String, step: Step<'_>) {
    let dot = if out.is_empty() { "" } else { "." };
    // Writing to a string does not fail.
    let _ = match step {
        Step::Field(name) => write!(out, "{dot}{name}"),
        Step::Key(key) => write!(out, "{dot}{key:?}"),
        Step::Item(n) => write!(out, "[{n}]"),
    };
}

fn child<'e, 'a>(expr: &'e Expr<'a>, step: Step<'_>) -> Option<&'e Expr<'a>> {
    match (unwrap(expr), step) {
        (Expr::Map(map), Step::Key(wanted)) => map
            .entries
            .iter()
            .find(|e| matches!(&e.key, Expr::String(s) if s.value == wanted))
            .map(|e| &e.value),
        (Expr::Seq(seq), Step::Item(n)) => seq.items.get(n).map(|i| &i.expr),
        (other, Step::Field(wanted)) => fields(other)
            .iter()
            .find(|f| f.name.name == wanted)
            .map(|f| &f.value),
        _ => None,
    }
}

fn children<'e, 'a>(expr: &'e Expr<'a>) -> Vec<(Step<'e>, &'e Expr<'a>)> {
    match unwrap(expr) {
        Expr::Map(map) => map
            .entries
            .iter()
            .filter_map(|e| match &e.key {
                Expr::String(key) => Some((Step::Key(key.value.as_str()), &e.value)),
                _ => None,
            })
            .collect(),
        Expr::Seq(seq) => seq
            .items
            .iter()
            .enumerate()
            .map(|(n, i)| (Step::Item(n), &i.expr))
            .collect(),
        other => fields(other)
            .iter()
            .map(|f| (Step::Field(&f.name.name), &f.value))
            .collect(),
    }
}

/// `Some(x)` is x, `files([..])` is its one value.
fn unwrap<'e, 'a>(expr: &'e Expr<'a>) -> &'e Expr<'a> {
    match expr {
        Expr::Option(option) => option.value.as_ref().map_or(expr, |v| &v.expr),
        Expr::Struct(named) => match &named.body {
            Some(StructBody::Tuple(tuple)) => match tuple.elements.as_slice() {
                [one] => &one.expr,
                _ => expr,
            },
            _ => expr,
        },
        _ => expr,
    }
}

fn fields<'e, 'a>(expr: &'e Expr<'a>) -> &'e [StructField<'a>] {
    match expr {
        Expr::AnonStruct(anonymous) => &anonymous.fields,
        Expr::Struct(named) => match &named.body {
            Some(StructBody::Fields(body)) => &body.fields,
            _ => &[],
        },
        _ => &[],
    }
}
