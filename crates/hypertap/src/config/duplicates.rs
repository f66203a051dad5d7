//! Keys that stand twice in one object of a JSON text, of which a parser would silently keep one.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fault::{Faults, element, key};

/// Adds a fault for each key that is there again. The text is JSON.
pub(super) fn find(text: &str, faults: &mut Faults) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // It has been parsed before, so there is no error.
    let _ = Look { at: String::new(), faults }.deserialize(&mut deserializer);
}

/// Looks through a value and keeps nothing of it.
struct Look<'a> {
    at: String,
    faults: &'a mut Faults,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while list
            .next_element_seed(Look { at: element(&self.at, index), faults: &mut *self.faults })?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = object.next_key::<String>()? {
            let at = key(&self.at, &name);
            if !seen.insert(name) {
                self.faults.add_key(&at, "the key is there twice: keep one");
            }
            object.next_value_seed(Look { at, faults: &mut *self.faults })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut faults = Faults::default();
        find(text, &mut faults);
        let found = faults.finish(Some(())).err().unwrap_or_default();
        found.into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn a_key_that_is_there_twice_is_found_at_any_depth() {
        assert_eq!(found(r#"{"a":1,"b":2}"#), Vec::<String>::new());
        assert_eq!(found(r#"{"a":1,"a":{}}"#), ["a"]);
        assert_eq!(found(r#"{"a":[{},{"b":{"c":1.5,"c":null}}],"d":true,"\u0061":-1}"#), ["a[1].b.c", "a"]);
    }

    #[test]
    fn one_key_in_two_objects_is_no_duplicate() {
        assert_eq!(found(r#"[{"a":1e400},{"a":{"a":"a"}}]"#), Vec::<String>::new());
    }
}
