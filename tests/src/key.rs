//! Keys of what is built once and kept: a short hash of everything that went into it.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Collects the parts of a key; the order counts.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Adds a text. Its length goes in too, so that parts cannot run into each other.
    pub fn text(mut self, text: impl AsRef<[u8]>) -> Self {
        let bytes = text.as_ref();
        self.0.update(bytes.len().to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a file's name and content, or, for a folder, those of all files below it.
    pub fn path(mut self, path: &Path) -> Result<Self> {
        for file in files(path)? {
            let name = file.strip_prefix(path).unwrap_or(&file);
            let content = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            self = self.text(name.as_os_str().as_encoded_bytes()).text(content);
        }
        Ok(self)
    }

    /// The key: 16 hexadecimal digits.
    pub fn finish(self) -> String {
        let digest = self.0.finalize();
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The regular files at or below a path, in an order that does not depend on the file system.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("cannot list {}", path.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        found.extend(files(&path)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn parts_cannot_run_into_each_other() {
        let one = Key::default().text("ab").text("c").finish();
        let other = Key::default().text("a").text("bc").finish();
        assert_ne!(one, other);
        assert_eq!(one.len(), 16);
    }
}
