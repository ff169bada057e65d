//! The API's own document, made from the table of routes and the handlers' types, so that it tells what is really served.

#[cfg(test)]
mod compared;
mod shared;

use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use self::shared::{errors, headers_taken, shared};
use super::{
    access::Access,
    route::{Route, Routes},
};

/// One operation of the document, while its route describes it.
pub(crate) struct Operation<'d> {
    schemas: &'d mut SchemaGenerator,
    name: &'static str,
    fields: Map<String, Value>,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
    takes_query: bool,
}

/// Lists that take a page but neither `q` nor `sort`, as with Harbor.
const PAGES_ALONE: [&str; 5] = [
    "listProjectMembers",
    "listUserGroups",
    "searchUserGroups",
    "searchUsers",
    "listAuditLogEventTypes",
];

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
            let mut field = without_null(field);
            let told = field
                .as_object_mut()
                .and_then(|field| field.remove("description"));
            let mut parameter = json!({
                "name": name, "in": "query", "required": is_required, "schema": field,
            });
            if let Some(told) = told {
                parameter["description"] = told;
            }
            self.parameters.push(parameter);
        }
        self.takes_query = true;
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
            json!({ "content": { "application/json": { "schema": schema } } }),
        );
    }

    /// Something new, which `Location` names.
    pub(super) fn answers_new<T: JsonSchema>(&mut self) {
        self.answers::<T>(StatusCode::CREATED);
        self.adds_header(StatusCode::CREATED, "Location");
    }

    pub(super) fn answers_new_without_body(&mut self) {
        self.answers_nothing(StatusCode::CREATED);
        self.adds_header(StatusCode::CREATED, "Location");
    }

    /// A page of a list, as `q`, `sort`, `page` and `page_size` ask for it.
    pub(super) fn lists<T: JsonSchema>(&mut self) {
        let asked: &[&str] = if PAGES_ALONE.contains(&self.name) {
            &["page", "page_size"]
        } else {
            &["q", "sort", "page", "page_size"]
        };
        for name in asked {
            self.parameters.push(reference("parameters", name));
        }
        self.takes_query = true;
        self.answers::<Vec<T>>(StatusCode::OK);
        for name in ["X-Total-Count", "Link"] {
            self.adds_header(StatusCode::OK, name);
        }
    }

    pub(super) fn answers_nothing(&mut self, status: StatusCode) {
        self.respond(status, json!({}));
    }

    pub(super) fn answers_bytes(&mut self) {
        self.respond(
            StatusCode::OK,
            json!({ "content": { "*/*": { "schema": {} } } }),
        );
    }

    fn respond(&mut self, status: StatusCode, mut response: Value) {
        response["description"] = said(status).into();
        response["headers"] = json!({ "X-Request-Id": reference("headers", "X-Request-Id") });
        self.responses.insert(status.as_str().to_owned(), response);
    }

    fn adds_header(&mut self, status: StatusCode, name: &str) {
        if let Some(response) = self.responses.get_mut(status.as_str()) {
            response["headers"][name] = reference("headers", name);
        }
    }
}

/// A parameter may be left out, which `required` says; that its value is never null need not be said again.
fn without_null(field: &Value) -> Value {
    let mut field = field.clone();
    if let Some(fields) = field.as_object_mut() {
        if let Some(kinds) = fields.get("type").and_then(Value::as_array)
            && let Some(kind) = kinds.iter().find(|kind| *kind != "null").cloned()
        {
            fields.insert("type".to_owned(), kind);
        }
        let alternatives = fields.get("anyOf").and_then(Value::as_array);
        if let Some(kind) = alternatives
            .and_then(|all| all.iter().find(|kind| kind["type"] != "null"))
            .cloned()
        {
            return kind;
        }
        if fields.get("default") == Some(&Value::Null) {
            fields.remove("default");
        }
    }
    field
}

fn reference(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
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
    let mut components = shared();
    components["schemas"]
        .as_object_mut()
        .expect("an object")
        .extend(schemas.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Seawall API",
            "description": "Harbor's API v2.0 as Seawall serves it. How to sign in, page, filter: docs/api.md.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags(routes),
        "paths": paths,
        "components": components,
    })
}

/// Harbor's groups in the order of the table.
fn tags(routes: &'static Routes) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for route in routes.all() {
        if !names.contains(&route.tag) {
            names.push(route.tag);
        }
    }
    names.iter().map(|name| json!({ "name": name })).collect()
}

fn describe(route: &'static Route, schemas: &mut SchemaGenerator) -> Value {
    let mut operation = Operation {
        schemas,
        name: route.operation,
        fields: Map::new(),
        parameters: path_parameters(route),
        responses: Map::new(),
        takes_query: false,
    };
    route.describe(&mut operation);
    let takes_query = operation.takes_query;
    let Operation {
        mut fields,
        mut parameters,
        mut responses,
        ..
    } = operation;
    parameters.extend(headers_taken(route).map(|name| reference("parameters", name)));
    let takes_body = fields.contains_key("requestBody");
    for (status, name) in errors(route, takes_query, takes_body) {
        responses.insert(status.to_owned(), reference("responses", name));
    }
    fields.insert("operationId".to_owned(), route.operation.into());
    fields.insert("summary".to_owned(), route.summary.into());
    fields.insert("description".to_owned(), who_may(route.access).into());
    fields.insert("tags".to_owned(), json!([route.tag]));
    fields.insert("security".to_owned(), security(route.access));
    fields.insert("parameters".to_owned(), parameters.into());
    fields.insert("responses".to_owned(), responses.into());
    Value::Object(fields)
}

fn path_parameters(route: &'static Route) -> Vec<Value> {
    route
        .names()
        .map(|name| {
            let mut parameter = json!({ "name": name, "in": "path", "required": true });
            parameter["schema"] = if is_number(name) {
                json!({ "type": "integer", "format": "int64" })
            } else {
                json!({ "type": "string", "minLength": 1 })
            };
            if let Some(told) = shared::of_path(name) {
                parameter["description"] = told.into();
            }
            parameter
        })
        .collect()
}

/// Whether a variable of a path is a number: those that are named after an id alone.
fn is_number(name: &str) -> bool {
    (name.ends_with("_id") && name != "project_name_or_id") || matches!(name, "id" | "mid")
}

/// Where a name is not needed, an empty alternative says so.
fn security(access: Access) -> Value {
    let mut ways = vec![
        json!({ "basic": [] }),
        json!({ "bearer": [] }),
        json!({ "session": [] }),
    ];
    if !matches!(access, Access::SignedIn | Access::System(..)) {
        ways.push(json!({}));
    }
    ways.into()
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
