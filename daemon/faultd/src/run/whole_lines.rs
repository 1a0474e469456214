//! A file of lines that are there as a whole or not at all, also when the disk is full for a while.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
};

/// A file that only this writes to, from its beginning.
pub(super) struct WholeLines {
    file: File,
    /// Of what is whole, in bytes.
    length: u64,
}

impl WholeLines {
    /// An empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file, length: 0 }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When it cannot be written; the file is as it was then.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        let written = self.file.write_all(&bytes);
        match written {
            Ok(()) => self.length = self.length.saturating_add(bytes.len() as u64),
            Err(_) => {
                // Half a line would spoil the next one too.
                self.file.set_len(self.length)?;
                self.file.seek(SeekFrom::Start(self.length))?;
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole() {
        let path = std::env::temp_dir().join(format!("faultd-lines-{}", std::process::id()));
        let mut lines = WholeLines::new(File::create(&path).unwrap());
        lines.add("one").unwrap();
        lines.add("two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::remove_file(&path).unwrap();
        assert!(WholeLines::new(File::open("/dev/null").unwrap()).add("three").is_err());
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(WholeLines::new(full).add("three").is_err());
    }
}
