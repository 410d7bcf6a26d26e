//! Octets as a source of choices.

/// Reads choices off octets; at their end everything is the first choice.
#[derive(Debug, Clone)]
pub struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub const fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = bound > 256;
        let number = usize::from(self.octet());
        let high = if wide { usize::from(self.octet()) } else { 0 };
        (number | high << 8) % bound
    }

    /// Once in so many times; always at the end.
    pub fn one_in(&mut self, times: u8) -> bool {
        self.octet().is_multiple_of(times)
    }

    pub fn number(&mut self) -> u64 {
        let mut octets = [0; 8];
        let take = usize::from(self.octet()) % 9;
        for octet in octets.iter_mut().take(take) {
            *octet = self.octet();
        }
        u64::from_le_bytes(octets)
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Up to `most` octets as they are.
    pub fn octets(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Octets that are mostly words of a language, up to a stop or the end.
    pub fn text(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut text = Vec::new();
        while !self.is_empty() {
            match self.octet() {
                n @ 0..=199 => text.extend_from_slice(words[usize::from(n) % words.len()]),
                200..=229 => text.push(self.octet()),
                230..=249 => text.extend_from_slice(self.octets(16)),
                _ => break,
            }
        }
        text
    }

    /// Either octets as they are or words.
    pub fn input(&mut self, words: &[&[u8]]) -> Vec<u8> {
        match self.octet() % 4 {
            0 => self.rest().to_vec(),
            _ => self.text(words),
        }
    }
}

/// Cuts octets into pieces that another source chooses; all are there, in order.
pub fn cut<'d>(data: &'d [u8], choices: &mut Source<'_>) -> Vec<&'d [u8]> {
    let mut pieces = Vec::new();
    let mut rest = data;
    let most = choices.pick(&[1usize, 2, 3, 7, 100]);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((1 + choices.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
