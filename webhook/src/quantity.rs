//! Kubernetes quantities: `100m`, `1.5Gi`, `2e3`
//! (kubernetes/kubernetes:staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go). Exact down to a billionth,
//! finer digits are rounded up, as upstream does.

use std::fmt;
use std::str::FromStr;

const NANO: i128 = 1_000_000_000;
/// Upstream caps at 2^63-1 of the unit; larger ones cannot be meant.
const LARGEST: i128 = i64::MAX as i128 * NANO;

/// An amount, in billionths of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

/// A text that is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quantity such as 100m, 0.5, 64Mi or 1G")]
pub struct QuantityError(String);

impl Quantity {
    /// Whether it is more than nothing.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// How often `other` goes into it, rounded up to the next thousandth of the unit; `None` for a divisor below one
    /// billionth.
    pub fn divided_up(self, other: Self) -> Option<Self> {
        if other.0 <= 0 {
            return None;
        }
        let numerator = self.0.checked_mul(NANO)?;
        let nano = numerator / other.0 + i128::from(numerator % other.0 != 0);
        let milli = NANO / 1000;
        Some(Self((nano + milli - 1) / milli * milli))
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The amount rounded up to whole units: bytes have no fractions.
    pub fn whole(self) -> Self {
        Self((self.0 + NANO - 1) / NANO * NANO)
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text).map(Self).ok_or_else(|| QuantityError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<i128> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > 40 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (multiplier, divisor) = scale(suffix)?;
    let numerator = digits.checked_mul(multiplier)?.checked_mul(NANO)?;
    let denominator = divisor.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let nano = numerator / denominator + i128::from(numerator % denominator != 0);
    (nano <= LARGEST).then_some(sign * nano)
}

/// A suffix as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (1000 * NANO, 1),
        "P" => (1_000_000 * NANO, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

impl fmt::Display for Quantity {
    /// The shortest exact form: whole units with a binary suffix where one fits, else whole, else `m`, `u` or `n`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, suffix) in [(NANO, ""), (NANO / 1000, "m"), (1000, "u")] {
            if self.0 % unit != 0 {
                continue;
            }
            let amount = self.0 / unit;
            if suffix.is_empty() && amount != 0 {
                for (shift, binary) in [(30, "Gi"), (20, "Mi"), (10, "Ki")] {
                    if amount % (1_i128 << shift) == 0 {
                        return write!(f, "{}{binary}", amount >> shift);
                    }
                }
            }
            return write!(f, "{amount}{suffix}");
        }
        write!(f, "{}n", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect(text)
    }

    #[test]
    fn texts_of_one_amount_are_equal() {
        for (a, b) in [
            ("1", "1000m"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1k", "1e3"),
            ("2E3", "2000"),
            ("5e-3", "5m"),
            ("+1", "1"),
            ("1E", "1000P"),
            ("100u", "100000n"),
            ("0.0000000001", "1n"),
        ] {
            assert_eq!(quantity(a), quantity(b), "{a} {b}");
        }
        assert!(quantity("-1") < quantity("0"));
        assert!(quantity("1Gi") > quantity("1G"));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in ["", "m", "1.2.3", "1 Gi", "1gi", "1KB", "e3", "1e", "1e999", "99999E", "--1", "0x1", "١"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "1x".parse::<Quantity>().expect_err("x").to_string(),
            r#""1x" is not a quantity such as 100m, 0.5, 64Mi or 1G"#
        );
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for (text, printed) in [
            ("500m", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("0", "0"),
            ("7n", "7n"),
            ("1k", "1000"),
            ("64Mi", "64Mi"),
        ] {
            assert_eq!(quantity(text).to_string(), printed);
            assert_eq!(quantity(printed), quantity(text));
        }
    }

    #[test]
    fn division_rounds_up() {
        assert_eq!(quantity("100m").divided_up(quantity("3")), Some(quantity("34m")));
        assert_eq!(quantity("100m").divided_up(quantity("0")), None);
        assert_eq!(quantity("1500m").whole(), quantity("2"));
    }
}
