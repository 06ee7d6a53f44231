//! Points in time as MongoDB stores them: milliseconds since 1970 UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 UTC with milliseconds while within
/// the years −9999 to 9999, else as the number of milliseconds followed by `ms`, so nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Text that is not an RFC 3339 time of millisecond precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an RFC 3339 time to the millisecond, such as 2026-01-31T12:00:00.000Z")]
pub struct ParseTimeError;

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: jiff::Timestamp = text.parse().map_err(|_| ParseTimeError)?;
        if at.subsec_nanosecond() % 1_000_000 != 0 {
            return Err(ParseTimeError);
        }
        Ok(Timestamp(at.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_back_from_its_text() {
        for ms in [0, 1, -1, 1_767_225_600_123, -62_135_596_800_000] {
            let at = Timestamp(ms);
            assert_eq!(at.to_string().parse(), Ok(at), "{at}");
        }
        assert_eq!(Timestamp(1_767_225_600_000).to_string(), "2026-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MAX).to_string(), "9223372036854775807ms");
        assert!("2026-01-01T00:00:00.0001Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
