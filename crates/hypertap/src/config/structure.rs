//! Whether a JSON value has the structure that a schema says, with every difference by its key.
//!
//! Of JSON schema it knows what our own schemas have: `type`, `properties`, `required`, `additionalProperties`,
//! `items`, `anyOf` of different types, `minimum` and `maximum`.

use serde_json::{Map, Value};

use super::fault::{Faults, did_you_mean, element, key};

/// Adds a fault for everything in `value`, which is at the path `at`, that is not as `schema` says.
pub(super) fn check(schema: &Value, value: &Value, at: &str, faults: &mut Faults) {
    let kinds = kinds_of(schema);
    let schema = match schema["anyOf"].as_array() {
        Some(branches) => branches.iter().find(|branch| kinds_of(branch).contains(&kind_of(value))),
        None => Some(schema).filter(|_| kinds.contains(&kind_of(value))),
    };
    let Some(schema) = schema else {
        return faults.add(at, value, format_args!("expected {}", named(&kinds)));
    };
    match value {
        Value::Object(object) => check_object(schema, object, at, faults),
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                check(&schema["items"], value, &element(at, index), faults);
            }
        }
        Value::Number(number) => {
            let bound = |name: &str| schema[name].as_u64();
            let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u64::MAX));
            if number.as_u64().is_none_or(|number| number < least || number > most) {
                faults.add(at, value, format_args!("expected a whole number from {least} to {most}"));
            }
        }
        _ => {}
    }
}

fn check_object(schema: &Value, object: &Map<String, Value>, at: &str, faults: &mut Faults) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let others = &schema["additionalProperties"];
    for (name, value) in object {
        let at = key(at, name);
        match properties.get(name) {
            Some(schema) => check(schema, value, &at, faults),
            None if others.is_object() => check(others, value, &at, faults),
            None => faults.add_key(&at, unknown(name, properties)),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required.filter(|name| !object.contains_key(*name)) {
        let what = properties.get(name).and_then(|schema| schema["description"].as_str()).unwrap_or_default();
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        faults.add_key(&key(at, name), format_args!("the key is missing: {what}"));
    }
}

fn unknown(name: &str, properties: &Map<String, Value>) -> String {
    let known = || properties.keys().map(String::as_str);
    match did_you_mean(name, known()) {
        Some(question) => format!("there is no such key; {question}"),
        None => format!("there is no such key, only {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// The types that a schema allows.
fn kinds_of(schema: &Value) -> Vec<&str> {
    if let Some(branches) = schema["anyOf"].as_array() {
        return branches.iter().flat_map(kinds_of).collect();
    }
    match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A value's type; numbers are all taken for whole ones here.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Types in words. That a key may be `null` is for files that others wrote, and not proposed.
fn named(kinds: &[&str]) -> String {
    let word = |kind: &&str| match *kind {
        "boolean" => Some("true or false"),
        "integer" => Some("a whole number"),
        "string" => Some("a text in quotes"),
        "array" => Some("a list […]"),
        "object" => Some("an object {…}"),
        _ => None,
    };
    kinds.iter().filter_map(word).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(value: &Value) -> Vec<String> {
        let schema = json!({
            "type": "object",
            "properties": {
                "text": {"type": ["string", "null"]},
                "either": {"anyOf": [{"type": "string"}, {"type": "object", "properties": {}, "required": ["a"]}]},
                "list": {"type": "array", "items": {"type": "boolean"}},
                "number": {"type": "integer", "minimum": 1, "maximum": 9},
                "named": {"type": "object", "additionalProperties": {"type": "string"}}
            },
            "additionalProperties": false
        });
        let mut faults = Faults::default();
        check(&schema, value, "", &mut faults);
        let found = faults.finish(Some(())).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_as_the_schema_says_has_no_fault() {
        let value =
            json!({"text": null, "either": {"a": 1}, "list": [true], "number": 9, "named": {"x y": "z"}});
        // `a` is required and not described: such a key is another schema's.
        assert_eq!(faults(&value), ["either.a: there is no such key, only "]);
        assert_eq!(
            faults(&json!({"text": "", "either": "x", "list": [], "named": {}})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_difference_is_named_with_what_is_expected() {
        let value = json!({
            "text": 5, "either": {}, "list": [true, 0, {}], "number": 10, "named": {"a b": []}, "txet": 1
        });
        assert_eq!(
            faults(&value),
            [
                "text: 5: expected a text in quotes",
                "either.a: the key is missing: ",
                "list[1]: 0: expected true or false",
                "list[2]: {}: expected true or false",
                "number: 10: expected a whole number from 1 to 9",
                "named[\"a b\"]: []: expected a text in quotes",
                "txet: there is no such key; did you mean \"text\"?",
            ]
        );
        for number in [json!(1.5), json!(-1), json!(0)] {
            assert_eq!(
                faults(&json!({ "number": number })),
                [format!("number: {number}: expected a whole number from 1 to 9")]
            );
        }
        assert_eq!(faults(&json!([])), ["[]: expected an object {…}"]);
        assert_eq!(faults(&json!({"either": 1})), ["either: 1: expected a text in quotes or an object {…}"]);
    }
}
