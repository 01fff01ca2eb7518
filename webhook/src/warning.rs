//! Warnings of an AdmissionResponse. The API server shows them to whoever sent the request, cuts long ones and drops
//! them all past 4 KiB, so they are few and short.

/// Most warnings of one answer.
const MOST: usize = 3;
/// Most bytes of one warning; the API server's advice is 120 characters.
const BYTES: usize = 119;

/// Warnings in the order in which they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    /// Adds one.
    pub fn push(&mut self, warning: String) {
        self.0.push(warning);
    }

    /// All of them, whole, for the log.
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// What goes into the answer.
    pub fn into_answer(self) -> Vec<String> {
        let count = self.0.len();
        let shown = if count > MOST { MOST - 1 } else { count };
        let more = (count > MOST).then(|| format!("probelet: and {} more", count - shown));
        self.0.into_iter().take(shown).map(|warning| cut(&format!("probelet: {warning}"))).chain(more).collect()
    }
}

/// Control characters are refused by the API server, so they become spaces.
fn cut(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() <= BYTES {
        return text;
    }
    format!("{}...", &text[..text.floor_char_boundary(BYTES - 3)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_few_and_short_warnings() {
        let mut warnings = Warnings::default();
        assert!(warnings.clone().into_answer().is_empty());
        for text in ["a\nb", &"é".repeat(200), "c"] {
            warnings.push(text.to_owned());
        }
        let answer = warnings.clone().into_answer();
        assert_eq!((answer.len(), answer[0].as_str()), (3, "probelet: a b"));
        assert!(answer.iter().all(|text| text.len() < 120));
        warnings.push("d".into());
        assert_eq!(warnings.into_answer()[2], "probelet: and 2 more");
    }
}
