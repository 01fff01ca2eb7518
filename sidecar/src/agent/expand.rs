//! `$(VAR)` in a command, as kubelet expands it
//! (kubernetes/kubernetes:third_party/forked/golang/expansion/expand.go): unknown names stay, `$$` is `$`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// One argument with the values of its variables.
pub(super) fn expand(argument: &str, variable: impl Fn(&OsStr) -> Option<OsString>) -> OsString {
    let mut out = Vec::with_capacity(argument.len());
    let mut rest = argument.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'$' {
            out.push(*first);
            continue;
        }
        match after {
            [b'$', more @ ..] => {
                out.push(b'$');
                rest = more;
            }
            [b'(', more @ ..] => match more.iter().position(|byte| *byte == b')') {
                Some(end) => {
                    let name = &more[..end];
                    match variable(OsStr::from_bytes(name)) {
                        Some(value) => out.extend(value.into_vec()),
                        None => out.extend([b"$(", name, b")"].concat()),
                    }
                    rest = &more[end + 1..];
                }
                None => out.push(b'$'),
            },
            _ => out.push(b'$'),
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kubernetes/kubernetes:third_party/forked/golang/expansion/expand_test.go, its rules.
    #[test]
    fn variables_are_expanded_as_kubelet_expands_them() {
        let variable = |name: &OsStr| match name.to_str()? {
            "VAR_A" => Some("A".into()),
            "VAR_B" => Some("B".into()),
            "VAR_REF" => Some("$(VAR_A)".into()),
            "VAR_EMPTY" => Some("".into()),
            _ => None,
        };
        for (argument, expected) in [
            ("", ""),
            ("$(VAR_A)", "A"),
            ("___$(VAR_B)___", "___B___"),
            ("$(VAR_A)_$(VAR_B)", "A_B"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("foo$(VAR_EMPTY)bar", "foobar"),
            ("$(VAR_DNE)", "$(VAR_DNE)"),
            ("$$(VAR_A)", "$(VAR_A)"),
            ("$$$(VAR_A)", "$A"),
            ("$$$$(VAR_A)", "$$(VAR_A)"),
            ("$$$$$$$(NO)", "$$$$(NO)"),
            ("$$$$$$$(VAR_A)", "$$$A"),
            ("$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
            ("%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
            ("$?_boo_$!", "$?_boo_$!"),
            ("$(VAR_B)_______$(", "B_______$("),
            ("$($($($($--foo$(", "$($($($($--foo$("),
            ("$(foo$$var)", "$(foo$$var)"),
            ("a\\$(VAR_B)b", "a\\Bb"),
            ("$VAR_A", "$VAR_A"),
            ("$(VAR_A", "$(VAR_A"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$VAR_A)", "$VAR_A)"),
            ("$", "$"),
            ("a$", "a$"),
            ("$$", "$"),
            ("$()", "$()"),
            ("$é$(VAR_A)", "$éA"),
            ("foo$$($(VAR_A)", "foo$(A"),
            ("${VAR_A} `x` \"$(VAR_B)\"", "${VAR_A} `x` \"B\""),
        ] {
            assert_eq!(expand(argument, variable).to_str(), Some(expected), "{argument}");
        }
    }
}
