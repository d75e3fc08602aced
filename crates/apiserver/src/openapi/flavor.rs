//! Where versions 2 and 3 of OpenAPI write the same thing differently.

use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    V2,
    V3,
}

impl Flavor {
    pub(super) fn reference(self, name: &str) -> Value {
        let folder = match self {
            Self::V2 => "definitions",
            Self::V3 => "components/schemas",
        };
        json!({ "$ref": format!("#/{folder}/{name}") })
    }

    /// A parameter of an address; `place` is `path` or `query`.
    pub(super) fn parameter(self, place: &str, name: &str, kind: &str, text: &str) -> Value {
        let mut parameter = json!({ "name": name, "in": place, "description": text });
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self {
            Self::V2 => {
                parameter["type"] = kind.into();
                parameter["uniqueItems"] = true.into();
            }
            Self::V3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
        }
        parameter
    }

    pub(super) fn response(self, text: &str, schema: &Value) -> Value {
        match self {
            Self::V2 => json!({ "description": text, "schema": schema }),
            Self::V3 => {
                json!({ "description": text, "content": { "application/json": { "schema": schema } } })
            }
        }
    }

    /// Makes an operation take a body.
    pub(super) fn set_body(self, operation: &mut Value, schema: &Value) {
        match self {
            Self::V2 => {
                let body = json!({ "name": "body", "in": "body", "schema": schema });
                if let Some(parameters) = operation["parameters"].as_array_mut() {
                    parameters.insert(0, body);
                }
            }
            Self::V3 => operation["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } }),
        }
    }
}

/// Rewrites definitions of version 2 to those of version 3: references lead elsewhere, and have no neighbours.
pub(super) fn upgrade(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(upgrade),
        Value::Object(fields) => {
            fields.values_mut().for_each(upgrade);
            let Some(Value::String(target)) = fields.get("$ref") else { return };
            let moved = json!({ "$ref": target.replacen("#/definitions/", "#/components/schemas/", 1) });
            if fields.len() == 1 {
                *schema = moved;
            } else {
                fields.remove("$ref");
                fields.insert("allOf".to_owned(), json!([moved]));
            }
        }
        _ => {}
    }
}
