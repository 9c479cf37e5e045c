//! Points in time and durations as people and JSON write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, RFC 3339 in UTC with milliseconds.
///
/// Times come from one launcher's clock and are for people; order is decided by revisions and
/// incarnations, never by comparing times of two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// The time that many milliseconds after 1970; the first or the last that can be written where it is beyond.
    pub fn from_millis(millis: i64) -> Self {
        let (first, last) = (Timestamp::MIN.as_second() * 1000, Timestamp::MAX.as_second() * 1000);
        Self(Timestamp::from_millisecond(millis.clamp(first, last)).unwrap_or(Timestamp::MAX))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// The time `by` later.
    pub fn after(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(by))
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.millis() - earlier.millis()).unwrap_or(0))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self::from_millis(at.as_millisecond())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl FromStr for Time {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<Timestamp>().map(Self::from)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A duration as people write it: `500ms`, `30s`, `10m`, `1h 30m`, `7d`.
///
/// A bare number in JSON, or a text of digits only, means seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Dur(pub Duration);

/// Why something is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// It cannot be read.
    #[error("not a duration: write it as 500ms, 30s, 10m, 2h or 7d")]
    Unreadable,
    /// It is longer than [`Dur::LONGEST`].
    #[error("longer than 3650d, the longest duration")]
    TooLong,
}

impl Dur {
    /// The longest that is read, ten years: whatever is reckoned from one stays a time that can be written.
    pub const LONGEST: Self = Self::secs(3650 * 24 * 3600);

    /// A duration of whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A duration of milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// A number of seconds with its fraction.
    ///
    /// # Errors
    /// It is negative, not a number, or too long.
    pub fn from_secs_f64(seconds: f64) -> Result<Self, InvalidDuration> {
        if seconds > Self::LONGEST.0.as_secs_f64() {
            return Err(InvalidDuration::TooLong);
        }
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| InvalidDuration::Unreadable)
    }

    /// Itself, when it is not longer than [`Self::LONGEST`].
    ///
    /// # Errors
    /// It is.
    pub fn checked(self) -> Result<Self, InvalidDuration> {
        if self <= Self::LONGEST { Ok(self) } else { Err(InvalidDuration::TooLong) }
    }
}

impl fmt::Display for Dur {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(out)
    }
}

impl fmt::Debug for Dur {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Dur {
    type Err = InvalidDuration;
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .map_or(Err(InvalidDuration::TooLong), |seconds| Self::secs(seconds).checked());
        }
        match humantime::parse_duration(text) {
            Ok(read) => Self(read).checked(),
            Err(humantime::DurationError::NumberOverflow) => Err(InvalidDuration::TooLong),
            Err(_) => Err(InvalidDuration::Unreadable),
        }
    }
}

impl From<Dur> for Duration {
    fn from(duration: Dur) -> Self {
        duration.0
    }
}

impl Serialize for Dur {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

struct DurVisitor;

impl serde::de::Visitor<'_> for DurVisitor {
    type Value = Dur;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a duration such as \"30s\", or a number of seconds")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Dur, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Dur, E> {
        Dur::secs(seconds).checked().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Dur, E> {
        let seconds = u64::try_from(seconds).map_err(|_| E::custom(InvalidDuration::Unreadable))?;
        self.visit_u64(seconds)
    }

    fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Dur, E> {
        Dur::from_secs_f64(seconds).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Dur {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DurVisitor)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
    use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

    impl utoipa::PartialSchema for super::Time {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
                .into()
        }
    }
    impl utoipa::ToSchema for super::Time {}

    impl utoipa::PartialSchema for super::Dur {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(
                    "A duration: 500ms, 30s, 10m, 2h, 7d; a number means seconds. At most 3650d.",
                ))
                .into()
        }
    }
    impl utoipa::ToSchema for super::Dur {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("7d", 604_800_000), ("90", 90_000), ("1h 30m", 5_400_000)]
        {
            assert_eq!(text.parse::<Dur>().map(|dur| dur.0.as_millis()), Ok(millis), "{text}");
        }
        for text in ["", "-1s", "soon", "10 parsecs"] {
            assert!(text.parse::<Dur>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_ten_years_at_most() {
        assert_eq!("3650d".parse(), Ok(Dur::LONGEST));
        assert_eq!(Dur::LONGEST.to_string().parse(), Ok(Dur::LONGEST));
        let words = InvalidDuration::TooLong.to_string();
        for text in
            ["3650d 1ms", "9999y", "99999999999d", "315360001", "99999999999999999999", "9999999999999999y"]
        {
            assert_eq!(text.parse::<Dur>(), Err(InvalidDuration::TooLong), "{text}");
            let read = serde_json::from_value::<Dur>(text.into());
            assert_eq!(read.map_err(|error| error.to_string()), Err(words.clone()), "{text}");
        }
        for number in ["315360001", "18446744073709551615", "1e9", "1e300"] {
            let read = serde_json::from_str::<Dur>(number).map_err(|error| error.to_string());
            assert!(read.as_ref().is_err_and(|error| error.starts_with(&words)), "{number}: {read:?}");
        }
    }

    #[test]
    fn a_time_beyond_all_that_can_be_written_is_the_last_one() {
        let last = Time::from_millis(i64::MAX);
        assert_eq!(last.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(last.to_string().parse::<Time>().ok(), Some(last));
        let now = Time::from_millis(1_767_261_605_123);
        for by in [Duration::from_secs(9999 * 365 * 24 * 3600), Duration::MAX] {
            assert_eq!(now.after(by), last);
            assert_eq!(now.after(by).after(by), last);
        }
        assert!(Time::from_millis(i64::MIN) < Time::from_millis(0));
    }

    #[test]
    fn times_survive_a_round_trip_with_milliseconds() {
        let at = Time::from_millis(1_767_261_605_123);
        assert_eq!(at.to_string(), "2026-01-01T10:00:05.123Z");
        assert_eq!(at.to_string().parse::<Time>().ok(), Some(at));
    }
}
