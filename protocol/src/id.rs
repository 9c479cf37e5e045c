//! Ids: 20 characters of lower-case Crockford base32, the first always a letter.
//!
//! 99 random bits make a session id unique for ever without asking anybody; the leading letter makes
//! it a valid job name, container name and host label. Generating one needs randomness and is the
//! caller's business: this module only shapes and checks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Number of characters of every id.
pub const LENGTH: usize = 20;
/// Random bytes that one id is made of.
pub const ENTROPY: usize = 20;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 20 characters of 0-9 and a-z without i, l, o, u, beginning with a letter")]
pub struct InvalidId;

fn shape(random: [u8; ENTROPY]) -> String {
    random
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            let digit = if at == 0 { 10 + usize::from(*byte) % 22 } else { usize::from(byte & 31) };
            char::from(DIGITS[digit])
        })
        .collect()
}

fn check(text: &str) -> Result<(), InvalidId> {
    let digits = text.len() == LENGTH && text.bytes().all(|byte| DIGITS.contains(&byte));
    let letter = text.starts_with(|first: char| first.is_ascii_lowercase());
    if digits && letter { Ok(()) } else { Err(InvalidId) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// Shapes random bytes into an id.
            pub fn from_random(random: [u8; ENTROPY]) -> Self {
                Self(shape(random))
            }

            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text).map(|()| Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some("^[a-hjkmnp-tv-z][0-9a-hjkmnp-tv-z]{19}$"))
                    .into()
            }
        }

        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// Identifies a session, for ever: random, never reused, and the job's tag at the scheduler.
    SessionId
);
id!(
    /// Identifies one share of a session.
    ShareId
);
id!(
    /// Identifies an API token (not the secret itself).
    TokenId
);
id!(
    /// Identifies one hook run or one failed request, for `wharf trace`.
    TraceId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_random_bytes_is_an_id_that_begins_with_a_letter() {
        for byte in 0..=255 {
            let id = SessionId::from_random([byte; ENTROPY]);
            assert_eq!(id.as_str().parse(), Ok(id.clone()));
        }
    }

    #[test]
    fn near_misses_are_refused() {
        for text in [
            "",
            "abc",
            "1aaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaai",
            "Aaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaa",
            "a/../../../../../etc",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(InvalidId), "{text}");
        }
    }
}
