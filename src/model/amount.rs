//! Amounts in JSON.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// An amount in JSON: an integer while every reader can hold it exactly (up to 2^53), else a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JsonAmount(pub i128);

const EXACT_MAX: i128 = 1 << 53;

impl Serialize for JsonAmount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(small) if self.0.abs() <= EXACT_MAX => serializer.serialize_i64(small),
            _ => serializer.collect_str(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for JsonAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = JsonAmount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer, or a string of one")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<JsonAmount, E> {
                Ok(JsonAmount(number.into()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<JsonAmount, E> {
                Ok(JsonAmount(number.into()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonAmount, E> {
                text.parse().map(JsonAmount).map_err(|_| E::custom("expected an integer"))
            }
        }
        deserializer.deserialize_any(Amount)
    }
}
