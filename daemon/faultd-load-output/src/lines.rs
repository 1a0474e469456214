//! Bytes in pieces of any size into lines: ended by `\n` or `\r` (progress bars), without escape sequences of
//! terminals, bounded in length.

/// The longest line that is kept, in bytes; what is longer is cut there.
pub(crate) const LONGEST_LINE: usize = 64 * 1024;

/// The beginning of the line that has not ended yet.
#[derive(Debug, Default)]
pub(crate) struct LineAssembler {
    line: Vec<u8>,
    is_cut: bool,
    cut_lines: u64,
}

impl LineAssembler {
    /// Takes the next bytes and gives each line that ends in them to `take`; empty ones are left out.
    pub(crate) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        // What is behind the last line end, possibly nothing, is not ended yet.
        let mut piece = pieces.next();
        while let Some(bytes) = piece {
            self.extend(bytes);
            piece = pieces.next();
            if piece.is_some() {
                self.end(&mut take);
            }
        }
    }

    /// Gives what has no line end as a line too.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&str)) {
        self.end(&mut take);
    }

    /// How many lines were longer than [`LONGEST_LINE`].
    pub(crate) fn cut_lines(&self) -> u64 {
        self.cut_lines
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.line.len());
        self.is_cut |= bytes.len() > room;
        self.line.extend(bytes.iter().take(room));
    }

    fn end(&mut self, take: &mut impl FnMut(&str)) {
        self.cut_lines += u64::from(std::mem::take(&mut self.is_cut));
        let line = without_escapes(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        if !line.trim().is_empty() {
            take(&line);
        }
    }
}

/// Takes away what a terminal would not show: control sequences (`ESC [ … letter`), titles and links
/// (`ESC ] … BEL` or `ESC \`), other escapes of two letters, and control characters but the tabulator.
fn without_escapes(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_escape(&mut letters),
            '\t' => shown.push(letter),
            _ if letter.is_control() => {}
            _ => shown.push(letter),
        }
    }
    shown
}

fn skip_escape(letters: &mut std::str::Chars<'_>) {
    match letters.next() {
        Some('[') => {
            letters.find(|letter| matches!(letter, '\u{40}'..='\u{7e}'));
        }
        Some(']') => {
            // It ends with BEL, or with another escape and its letter.
            let end = letters.find(|letter| matches!(letter, '\u{7}' | '\u{1b}'));
            if end == Some('\u{1b}') {
                letters.next();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let mut assembler = LineAssembler::default();
        let mut lines = Vec::new();
        for piece in pieces {
            assembler.push(piece, |line| lines.push(line.to_owned()));
        }
        assembler.finish(|line| lines.push(line.to_owned()));
        (lines, assembler.cut_lines())
    }

    #[test]
    fn lines_end_with_either_or_both_and_empty_ones_are_left_out() {
        let (found, cut) = lines(&[b"one\r\ntw", b"o\rthree\r", b"\n\n  \nfour"]);
        assert_eq!((found, cut), (vec!["one".into(), "two".into(), "three".into(), "four".into()], 0));
    }

    #[test]
    fn what_a_terminal_would_not_show_is_taken_away() {
        let text = b"\x1b[2K\x1b[1;32mPASS\x1b[0m:\tok\x1b]0;title\x07 \x1b]8;;x\x1b\\link\x1bM\x00\x08\n";
        assert_eq!(lines(&[text]).0, ["PASS:\tok link"]);
        assert_eq!(lines(&[b"a\x1b[12", b";3", b"mb\n\x1b", b"[31mc\x1b["]).0, ["ab", "c"]);
    }

    #[test]
    fn a_long_line_is_cut_and_counted_and_the_next_one_is_whole() {
        let long = vec![b'x'; LONGEST_LINE + 1];
        let (found, cut) = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!((found[0].len(), found[1].as_str(), cut), (LONGEST_LINE, "next", 1));
        assert_eq!(lines(&[&long[1..], b"\n"]).1, 0);
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        assert_eq!(lines(&[b"a\xffb\n"]).0, ["a\u{fffd}b"]);
        assert_eq!(lines(&[b"\xe2\x88", b"\x8e\n"]).0, ["\u{220e}"]);
    }
}
