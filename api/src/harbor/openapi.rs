//! The API's own document, made from the table of routes and the handlers' types, so that it tells what is really served.

use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    access::Access,
    route::{Route, Routes},
};

/// One operation of the document, while its route describes it.
pub(crate) struct Operation<'d> {
    schemas: &'d mut SchemaGenerator,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
}

impl Operation<'_> {
    pub(super) fn takes_query<T: JsonSchema>(&mut self) {
        let schema = self.schemas.root_schema_for::<T>();
        let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        let required = schema.get("required").and_then(Value::as_array);
        for (name, field) in fields {
            let is_required =
                required.is_some_and(|names| names.iter().any(|required| required == name));
            self.parameters.push(json!({
                "name": name, "in": "query", "required": is_required, "schema": plain(field),
            }));
        }
    }

    pub(super) fn takes_body<T: JsonSchema>(&mut self, media_type: &str) {
        let schema = self.schemas.subschema_for::<T>();
        self.fields.insert(
            "requestBody".to_owned(),
            json!({ "required": true, "content": { media_type: { "schema": schema } } }),
        );
    }

    pub(super) fn answers<T: JsonSchema>(&mut self, status: StatusCode) {
        let schema = self.schemas.subschema_for::<T>();
        self.respond(
            status,
            json!({ "description": said(status), "content": { "application/json": { "schema": schema } } }),
        );
    }

    /// A page of a list, as `q`, `sort`, `page` and `page_size` ask for it.
    pub(super) fn lists<T: JsonSchema>(&mut self) {
        for (name, kind, said) in [
            (
                "q",
                "string",
                "Filters: `k=v`, `k=~v`, `k=[min~max]`, `k={a b}`, with commas between them.",
            ),
            (
                "sort",
                "string",
                "Fields with commas between them; `-` before one for descending.",
            ),
            ("page", "integer", "Counts from 1."),
            (
                "page_size",
                "integer",
                "At most 100; 0 or less for everything.",
            ),
        ] {
            self.parameters.push(json!({
                "name": name, "in": "query", "required": false, "description": said, "schema": { "type": kind },
            }));
        }
        let schema = self.schemas.subschema_for::<Vec<T>>();
        self.respond(
            StatusCode::OK,
            json!({
                "description": said(StatusCode::OK),
                "headers": {
                    "X-Total-Count": { "description": "Rows on all pages.", "schema": { "type": "integer" } },
                    "Link": { "description": "The pages before and after.", "schema": { "type": "string" } },
                },
                "content": { "application/json": { "schema": schema } },
            }),
        );
    }

    pub(super) fn answers_nothing(&mut self, status: StatusCode) {
        self.respond(status, json!({ "description": said(status) }));
    }

    pub(super) fn answers_bytes(&mut self) {
        self.respond(
            StatusCode::OK,
            json!({ "description": said(StatusCode::OK), "content": { "*/*": { "schema": {} } } }),
        );
    }

    fn respond(&mut self, status: StatusCode, response: Value) {
        self.responses.insert(status.as_str().to_owned(), response);
    }
}

/// A parameter may be left out, which `required` says; that its value is never null need not be said again.
fn plain(field: &Value) -> Value {
    let mut field = field.clone();
    if let Some(kinds) = field.get("type").and_then(Value::as_array) {
        let kind = kinds.iter().find(|kind| *kind != "null").cloned();
        if let (Some(kind), Some(fields)) = (kind, field.as_object_mut()) {
            fields.insert("type".to_owned(), kind);
        }
    }
    field
}

fn said(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Success")
}

/// The document, as JSON of OpenAPI 3.1.
pub(super) fn document(routes: &'static Routes) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in routes.all() {
        let operation = describe(route, &mut schemas);
        let path = paths
            .entry(route.path.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = path {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut components = schemas.take_definitions(true);
    components.insert("Errors".to_owned(), errors());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Seawall API",
            "description": "Harbor's API v2.0 as Seawall serves it.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "basic": [] }, { "session": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic" },
                "session": { "type": "apiKey", "in": "cookie", "name": "sid" },
            },
        },
    })
}

fn describe(route: &'static Route, schemas: &mut SchemaGenerator) -> Value {
    let mut operation = Operation {
        schemas,
        fields: Map::new(),
        parameters: path_parameters(route),
        responses: Map::new(),
    };
    route.describe(&mut operation);
    let Operation {
        mut fields,
        parameters,
        mut responses,
        ..
    } = operation;
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "What went wrong.",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Errors" } } },
        }),
    );
    fields.insert("operationId".to_owned(), route.operation.into());
    fields.insert("summary".to_owned(), route.summary.into());
    fields.insert("description".to_owned(), who_may(route.access).into());
    fields.insert("tags".to_owned(), json!([route.tag]));
    fields.insert("parameters".to_owned(), parameters.into());
    fields.insert("responses".to_owned(), responses.into());
    Value::Object(fields)
}

fn path_parameters(route: &'static Route) -> Vec<Value> {
    route
        .names()
        .map(|name| {
            let kind = if is_number(name) { "integer" } else { "string" };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
        })
        .collect()
}

/// Whether a variable of a path is a number: those that are named after an id alone.
fn is_number(name: &str) -> bool {
    (name.ends_with("_id") && name != "project_name_or_id") || matches!(name, "id" | "mid")
}

fn who_may(access: Access) -> String {
    match access {
        Access::Anybody => "Open to everybody; shows what the caller may see.".to_owned(),
        Access::SignedIn => "For everybody who signed in.".to_owned(),
        Access::System(resource, action) => {
            format!("For administrators, and robots with `{resource}:{action}` on the system.")
        }
        Access::Project(resource, action) => {
            format!("For whoever has `{resource}:{action}` in the project.")
        }
        Access::Inside(who) => format!("For {who}."),
    }
}

fn errors() -> Value {
    json!({
        "type": "object",
        "required": ["errors"],
        "properties": { "errors": { "type": "array", "items": {
            "type": "object",
            "required": ["code", "message"],
            "properties": { "code": { "type": "string" }, "message": { "type": "string" } },
        } } },
    })
}
