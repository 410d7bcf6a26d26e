//! Header fields written token by token, folded at 78 columns.

/// Columns after which a line is folded (RFC 5322 2.1.1).
const COLUMNS: usize = 78;
/// Octets of a token that cannot be folded before it is cut, so that a line stays below RFC 5322's 998.
const TOKEN_MAX: usize = 900;

/// A header field in the making.
#[derive(Debug)]
pub(crate) struct Folded {
    text: String,
    column: usize,
}

impl Folded {
    /// A field with its name; the colon is added.
    pub(crate) fn new(name: &str) -> Self {
        let text = format!("{name}:");
        Self {
            column: text.len(),
            text,
        }
    }

    /// Adds a token behind a space, or on a new line when it would end beyond the last column.
    pub(crate) fn token(&mut self, token: &str) -> &mut Self {
        let mut rest = token;
        while rest.len() > TOKEN_MAX {
            let cut = (0..=TOKEN_MAX).rev().find(|i| rest.is_char_boundary(*i));
            let (piece, tail) = rest
                .split_at_checked(cut.unwrap_or(0))
                .unwrap_or((rest, ""));
            self.piece(piece);
            rest = tail;
        }
        self.piece(rest);
        self
    }

    /// Adds the words of a text, each a token.
    pub(crate) fn words(&mut self, text: &str) -> &mut Self {
        for word in text.split_ascii_whitespace() {
            self.token(word);
        }
        self
    }

    /// What comes next begins a line.
    pub(crate) fn line(&mut self) -> &mut Self {
        self.column = COLUMNS;
        self
    }

    fn piece(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        let columns = piece.chars().count();
        if self.column + 1 + columns > COLUMNS && self.column > 1 {
            self.text.push_str("\r\n\t");
            self.column = 1;
        } else {
            self.text.push(' ');
            self.column += 1;
        }
        self.text.push_str(piece);
        self.column += columns;
    }

    /// The field with its line end.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.text);
        text.push_str("\r\n");
        text
    }
}
