//! The order of magnitude of an amount.

/// The order of magnitude of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    NotAnAmount,
    Negative,
    /// So many digits; 0 is zero.
    Digits(u32),
}

impl Size {
    pub(super) fn of(amount: Option<i128>) -> Size {
        match amount {
            None => Size::NotAnAmount,
            Some(..0) => Size::Negative,
            Some(amount) => Size::Digits(amount.checked_ilog10().map_or(0, |log| log + 1)),
        }
    }

    /// The smallest and the largest amount of so many digits.
    pub(super) fn range(digits: u32) -> (i128, i128) {
        let from = 10_i128.pow(digits.saturating_sub(1));
        (from, from * 10 - 1)
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::NotAnAmount => f.write_str("not an amount"),
            Size::Negative => f.write_str("below zero"),
            Size::Digits(0) => f.write_str("0"),
            Size::Digits(digits) => {
                let (from, to) = Size::range(*digits);
                write!(f, "{from} to {to}")
            }
        }
    }
}
