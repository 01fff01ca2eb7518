//! The API server's syntax of names, keys and values
//! (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go). Each check answers what
//! is wrong, as the end of a sentence.

const LABEL: usize = 63;
const SUBDOMAIN: usize = 253;

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// `[prefix/]name`: a label key, an annotation key, a condition type.
pub fn qualified_name(text: &str) -> Option<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if name.contains('/') {
        return Some("must have at most one slash".to_owned());
    }
    if let Some(prefix) = prefix
        && let Some(problem) = dns_subdomain(prefix)
    {
        return Some(format!("has a prefix that {problem}"));
    }
    if name.is_empty() || name.len() > LABEL {
        return Some(format!("must have a name of 1 to {LABEL} characters"));
    }
    (!is_bounded(name)).then(|| {
        "must have a name of letters, digits, '-', '_' and '.', starting and ending with a letter or digit".to_owned()
    })
}

/// A label's value.
pub fn label_value(text: &str) -> Option<String> {
    if text.len() > LABEL {
        return Some(format!("must have at most {LABEL} characters"));
    }
    if text.is_empty() || is_bounded(text) {
        return None;
    }
    Some("must be empty or of letters, digits, '-', '_' and '.', starting and ending with a letter or digit".to_owned())
}

/// RFC 1123 subdomain: names of most objects.
pub fn dns_subdomain(text: &str) -> Option<String> {
    let valid = !text.is_empty() && text.len() <= SUBDOMAIN && text.split('.').all(is_dns_part);
    (!valid).then(|| {
        format!("must be a DNS name: at most {SUBDOMAIN} lower case letters, digits, '-' and '.', starting and ending with a letter or digit")
    })
}

/// RFC 1123 label: names of namespaces and containers.
pub fn dns_label(text: &str) -> Option<String> {
    let valid = text.len() <= LABEL && is_dns_part(text);
    (!valid).then(|| {
        format!("must have 1 to {LABEL} lower case letters, digits and '-', starting and ending with a letter or digit")
    })
}

/// The name of a container port: at most 15 characters, at least one letter, no `--`.
pub fn port_name(text: &str) -> Option<String> {
    let valid = !text.is_empty()
        && text.len() <= 15
        && is_dns_part(text)
        && text.contains(|c: char| c.is_ascii_lowercase())
        && !text.contains("--");
    (!valid).then(|| {
        "must be a port's name: 1 to 15 lower case letters, digits and single '-', with a letter, not at either end a '-'"
            .to_owned()
    })
}

/// The name of an HTTP header.
pub fn header_name(text: &str) -> Option<String> {
    let valid = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (!valid).then(|| "must be of letters, digits and '-'".to_owned())
}

fn is_bounded(text: &str) -> bool {
    text.chars().all(is_name_character)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_dns_part(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_the_api_server_judges_them() {
        let long = "a".repeat(64);
        let subdomain = format!("{}.b", "a".repeat(252));
        type Check = fn(&str) -> Option<String>;
        let rows: [(Check, &[&str], Vec<&str>); 6] = [
            (
                qualified_name,
                &["app", "a.io/B_c.d-1", "A"],
                vec!["", "a/", "/a", "a/b/c", "-a", "a.", "A.io/b", "a b", &long],
            ),
            (label_value, &["", "true", "1.0_x"], vec!["-", "a/b", "a ", "é", &long]),
            (dns_subdomain, &["a", "a.b-c.d1"], vec!["", "A", "a..b", "-a", "a_b", &subdomain, "a."]),
            (dns_label, &["a", "a-1", "1"], vec!["", "a.b", "A", "a-", &long]),
            (port_name, &["http", "a-1", "1a"], vec!["", "80", "a--b", "-a", "abcdefghijklmnop", "HTTP"]),
            (header_name, &["X-Y", "a1"], vec!["", "a b", "a:", "a\r\nb"]),
        ];
        for (check, good, bad) in rows {
            for text in good {
                assert_eq!(check(text), None, "{text:?}");
            }
            for text in bad {
                assert!(check(text).is_some(), "{text:?}");
            }
        }
    }
}
