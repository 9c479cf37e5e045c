//! Reading the one JSON document: strict, bounded in depth, no member twice, nothing around it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of a document.
pub(crate) const DEPTH_MAX: usize = 64;

/// Reads exactly one document, however many values it holds: for documents whose length is bounded already.
///
/// # Errors
/// A sentence: what is wrong, and where.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    parse_within(bytes, usize::MAX)
}

/// The same within so many bytes of memory: two characters of text may become a hundred bytes of values.
///
/// # Errors
/// The same, and that it is too large.
pub(crate) fn parse_within(bytes: &[u8], most: usize) -> Result<Value, String> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8 (byte {})", error.valid_up_to()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let room = Cell::new(most);
    let value = Strict { left: DEPTH_MAX, room: &room }
        .deserialize(&mut reader)
        .map_err(|error| format!("not one JSON document: {error}"))?;
    reader.end().map_err(|_| "more than one JSON document, or text after it".to_owned())?;
    Ok(value)
}

/// Memory of one value, and of one member of an object beside its name.
const VALUE: usize = size_of::<Value>();
const MEMBER: usize = 2 * VALUE;

#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    room: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Strict<'_> {
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        match self.room.get().checked_sub(bytes) {
            Some(left) => {
                self.room.set(left);
                Ok(())
            }
            None => Err(E::custom("too large: it holds too many values")),
        }
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, room: self.room }),
            None => Err(E::custom(format!("nested deeper than {DEPTH_MAX}"))),
        }
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            self.take(VALUE + item.as_str().map_or(0, str::len))?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            self.take(MEMBER + name.len() + value.as_str().map_or(0, str::len))?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("member `{name}` twice")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
