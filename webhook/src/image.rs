//! Image references, as far as an injector has to judge them.

/// Why a text cannot be an image reference.
pub fn check(image: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if image.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if image.len() > 512 || !image.chars().all(allowed) || !image.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("{image:?} is not an image reference such as registry.example/probelet:1.0"));
    }
    Ok(())
}

/// Whether a Pod may ask for this image. A prefix that does not end at a border (`/`, `:` or `@`) must be followed by
/// one, so that `registry.example/probelet` does not allow `registry.example/probelet-evil`.
pub fn is_allowed(image: &str, configured: &str, prefixes: &[String]) -> bool {
    image == configured
        || prefixes.iter().any(|prefix| {
            image.strip_prefix(prefix.as_str()).is_some_and(|rest| {
                rest.is_empty() || prefix.ends_with(['/', ':', '@']) || rest.starts_with(['/', ':', '@'])
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_border() {
        let prefixes = ["r.example/probelet".to_owned(), "r.example/team/".to_owned()];
        for (image, expected) in [
            ("r.example/probelet", true),
            ("r.example/probelet:1", true),
            ("r.example/probelet@sha256:00", true),
            ("r.example/probelet/x", true),
            ("r.example/probelet-evil", false),
            ("r.example/team/anything:2", true),
            ("r.example/other", false),
            ("own:1", true),
        ] {
            assert_eq!(is_allowed(image, "own:1", &prefixes), expected, "{image}");
        }
        // `:` separates a port only before the first slash.
        assert!(!is_allowed("r.example.evil/probelet", "own:1", &prefixes));
    }

    #[test]
    fn references_have_no_spaces_or_quotes() {
        assert!(check("localhost:5000/a/b:1.0@sha256:0a").is_ok());
        for bad in ["", "a b", "a\"b", "-a", "a\nb"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
