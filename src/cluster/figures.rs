//! The one document of numbers that a pipeline ends with: how it is asked for, and how it is read.

use super::error::ClusterError;
use super::expression::{all, is_some, one_if};
use crate::document::{Value, ValueKind, elements};
use crate::model::FindingCode;
use mongodb::bson::{Bson, Decimal128, Document, doc};
use std::collections::BTreeMap;

/// What is appended to a figure's name for the number of users that have it.
const USERS: &str = "_users";

/// The last two stages of a pipeline whose documents hold the `figures` and a `user`, which is null for
/// documents without one: each figure's sum, and for each the number of users whose sum is above zero.
/// The first of the two has one group a user, so no list of users is ever held.
pub(super) fn sums_and_users(figures: &[&str]) -> [Document; 2] {
    let mut by_user = doc! {"_id": "$user"};
    let mut total = doc! {"_id": Bson::Null};
    for name in figures {
        let field = format!("${name}");
        by_user.insert(*name, doc! {"$sum": &field});
        total.insert(*name, doc! {"$sum": &field});
        let has_it = all([is_some("$_id"), doc! {"$gt": [&field, 0]}.into()]);
        total.insert(format!("{name}{USERS}"), doc! {"$sum": one_if(has_it)});
    }
    [doc! {"$group": by_user}, doc! {"$group": total}]
}

/// Numbers by name.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// `None` when there was no document to count.
    numbers: Option<BTreeMap<String, i128>>,
}

impl Figures {
    /// Reads the document that a pipeline ended with.
    pub(super) fn read(document: &[u8]) -> Result<Figures, ClusterError> {
        let mut numbers = BTreeMap::new();
        for element in elements(document).map_err(|_| ClusterError::Figures)? {
            let element = element.map_err(|_| ClusterError::Figures)?;
            if element.name != b"_id" {
                let name = String::from_utf8_lossy(element.name).into_owned();
                numbers.insert(name, integer(element.value).ok_or(ClusterError::Figures)?);
            }
        }
        Ok(Figures { numbers: Some(numbers) })
    }

    /// A sum of amounts.
    pub(super) fn amount(&self, name: &str) -> Result<i128, ClusterError> {
        match &self.numbers {
            None => Ok(0),
            Some(numbers) => numbers.get(name).copied().ok_or(ClusterError::Figures),
        }
    }

    /// A count.
    pub(super) fn count(&self, name: &str) -> Result<u64, ClusterError> {
        u64::try_from(self.amount(name)?).map_err(|_| ClusterError::Figures)
    }

    /// How many users have a figure above zero.
    pub(super) fn users(&self, name: &str) -> Result<u64, ClusterError> {
        self.count(&format!("{name}{USERS}"))
    }

    /// Count of a finding whose figure has its code's name.
    pub(super) fn finding(&self, code: FindingCode) -> Result<(u64, u64), ClusterError> {
        Ok((self.count(code.as_str())?, self.users(code.as_str())?))
    }
}

/// The integer that the server made of counts (32 or 64 bits) or of amounts (decimals).
fn integer(value: Value<'_>) -> Option<i128> {
    match value.kind {
        ValueKind::Int32 | ValueKind::Int64 => value.as_amount().map(i128::from),
        // A sum of integers has the exponent 0, which is written without one.
        ValueKind::Decimal128 => {
            Decimal128::from_bytes(*value.bytes.first_chunk()?).to_string().parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::serialize_to_vec;

    fn read(value: Bson) -> Option<i128> {
        let document = serialize_to_vec(&doc! {"_id": Bson::Null, "x": value}).unwrap();
        Figures::read(&document).ok().map(|figures| figures.amount("x").unwrap())
    }

    #[test]
    fn sums_beyond_64_bits_are_read_exactly_and_what_is_no_integer_is_refused() {
        let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
        assert_eq!(read(Bson::Int32(-3)), Some(-3));
        assert_eq!(read(Bson::Int64(i64::MIN)), Some(i64::MIN.into()));
        assert_eq!(read(decimal("-0")), Some(0));
        assert_eq!(read(decimal("-9999999999999999999999999999999999")), Some(1 - 10_i128.pow(34)));
        for inexact in [Bson::Double(1.0), decimal("1E+34"), decimal("1.5"), decimal("NaN")] {
            assert_eq!(read(inexact), None);
        }
    }

    #[test]
    fn a_figure_that_was_not_asked_for_is_no_zero() {
        let document = serialize_to_vec(&doc! {"x": 1}).unwrap();
        let figures = Figures::read(&document).unwrap();
        assert_eq!(figures.count("x").unwrap(), 1);
        assert!(figures.count("y").is_err());
        assert_eq!(Figures::default().count("y").unwrap(), 0);
    }
}
