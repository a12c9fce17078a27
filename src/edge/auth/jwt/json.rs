//! JSON objects that mean the same to every reader.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep lists and objects may stand in each other.
const DEPTH: usize = 32;

/// Reads one object. A member that is there twice, at any depth and in whatever spelling, is refused: of two `roles` one
/// reader takes the first and another the last.
///
/// # Errors
/// The end of a sentence about it.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let flaw = Cell::new("is no JSON");
    let seed = Strict {
        room: DEPTH,
        flaw: &flaw,
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match value {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("is no JSON object"),
        Err(_) => Err(flaw.get()),
    }
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    room: usize,
    flaw: &'f Cell<&'static str>,
}

impl Strict<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Strict { room, ..self }),
            None => Err(self.refuse("is nested too deep")),
        }
    }

    fn refuse<E: Error>(self, why: &'static str) -> E {
        self.flaw.set(why);
        E::custom(why)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            let value = object.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(self.refuse("names a member twice"));
            }
        }
        Ok(Value::Object(members))
    }
}
