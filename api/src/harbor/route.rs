//! A row of the table: method, path, who may, and the handler. The handler's own types say what it takes and answers, so that
//! the API's document (openapi.rs) tells what is really served.

use std::{future::Future, pin::Pin};

use http::{Method, Response};
use oci::query;

use super::{
    access::Access, answer::Answer, call::Call, error::Result, input::Input, openapi::Operation,
};
use crate::body::{Body, RequestBody};

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;
type Run = Box<dyn Fn(Call, RequestBody) -> Answering + Send + Sync>;

/// What the path's `{…}` stood for, unescaped once.
pub(crate) type Params = Vec<(&'static str, String)>;

pub(crate) struct Route {
    pub(crate) method: Method,
    /// The whole path.
    pub(crate) path: String,
    /// Harbor's name of the operation; the `route` of the access log.
    pub(crate) operation: &'static str,
    pub(crate) access: Access,
    /// Harbor's group.
    pub(crate) tag: &'static str,
    /// What it does, for people who read the document.
    pub(crate) summary: &'static str,
    run: Run,
    describe: fn(&mut Operation<'_>),
}

impl Route {
    pub(crate) fn run(&self, call: Call, body: RequestBody) -> Answering {
        (self.run)(call, body)
    }

    /// Tells the document what the handler takes and answers.
    pub(crate) fn describe(&self, operation: &mut Operation<'_>) {
        (self.describe)(operation);
    }
}

/// A function that serves one operation: from the call, and from what it takes of query and body, to an answer.
pub(crate) trait Handler<Inputs>: Send + Sync + 'static {
    fn run(&self, call: Call, body: RequestBody) -> Answering;
    fn describe(operation: &mut Operation<'_>);
}

impl<F, Fut, A> Handler<()> for F
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
{
    fn run(&self, call: Call, _: RequestBody) -> Answering {
        let (asked, answered) = (call.asked(), self(call));
        Box::pin(async move { answered.await.map(|answer| answer.response(&asked)) })
    }

    fn describe(operation: &mut Operation<'_>) {
        A::describe(operation);
    }
}

impl<F, Fut, A, I> Handler<(I,)> for F
where
    F: Fn(Call, I) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
    I: Input,
{
    fn run(&self, call: Call, mut body: RequestBody) -> Answering {
        let handle = self.clone();
        Box::pin(async move {
            let asked = call.asked();
            let input = I::take(&call, &mut body).await?;
            Ok(handle(call, input).await?.response(&asked))
        })
    }

    fn describe(operation: &mut Operation<'_>) {
        I::describe(operation);
        A::describe(operation);
    }
}

impl<F, Fut, A, I, J> Handler<(I, J)> for F
where
    F: Fn(Call, I, J) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<A>> + Send + 'static,
    A: Answer,
    I: Input,
    J: Input,
{
    fn run(&self, call: Call, mut body: RequestBody) -> Answering {
        let handle = self.clone();
        Box::pin(async move {
            let asked = call.asked();
            let first = I::take(&call, &mut body).await?;
            let second = J::take(&call, &mut body).await?;
            Ok(handle(call, first, second).await?.response(&asked))
        })
    }

    fn describe(operation: &mut Operation<'_>) {
        I::describe(operation);
        J::describe(operation);
        A::describe(operation);
    }
}

macro_rules! methods {
    ($($name:ident $method:ident),+) => {$(
        pub(crate) fn $name<H: Handler<I>, I>(
            path: &'static str,
            operation: &'static str,
            access: Access,
            handler: H,
            summary: &'static str,
        ) -> Route {
            Route {
                method: Method::$method,
                path: path.to_owned(),
                operation,
                access,
                tag: "",
                summary,
                run: Box::new(move |call, body| handler.run(call, body)),
                describe: H::describe,
            }
        }
    )+};
}

methods!(get GET, head HEAD, post POST, put PUT, patch PATCH, delete DELETE);

/// Rows of one of Harbor's groups, below `/api/v2.0`.
pub(crate) fn tagged(tag: &'static str, routes: Vec<Route>) -> impl Iterator<Item = Route> {
    beside("/api/v2.0", tag, routes)
}

/// Rows below another path.
pub(crate) fn beside(
    prefix: &'static str,
    tag: &'static str,
    routes: Vec<Route>,
) -> impl Iterator<Item = Route> {
    routes.into_iter().map(move |route| Route {
        path: format!("{prefix}{}", route.path),
        tag,
        ..route
    })
}

/// The table with its index.
pub(crate) struct Routes {
    all: Vec<Route>,
    /// By path, the rows of its methods.
    paths: matchit::Router<Vec<usize>>,
}

pub(crate) enum Found {
    Route(&'static Route, Params),
    /// The path is there, for these methods.
    OtherMethods(String),
}

impl Routes {
    pub(crate) fn new(all: Vec<Route>) -> Self {
        let mut by_path: Vec<(&str, Vec<usize>)> = Vec::new();
        for (row, route) in all.iter().enumerate() {
            match by_path.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, rows)) => rows.push(row),
                None => by_path.push((&route.path, vec![row])),
            }
        }
        let mut paths = matchit::Router::new();
        for (path, rows) in by_path {
            paths
                .insert(path, rows)
                .expect("the table's paths do not contradict each other; a test makes it");
        }
        Self { all, paths }
    }

    pub(crate) fn all(&self) -> &[Route] {
        &self.all
    }

    /// Slashes at the end and doubled ones do not matter, as with Harbor's router. Each variable is unescaped once.
    pub(crate) fn find(&'static self, method: &Method, path: &str) -> Option<Found> {
        let clean = cleaned(path);
        let matched = self.paths.at(clean.as_deref().unwrap_or(path)).ok()?;
        let rows = || matched.value.iter().map(|row| &self.all[*row]);
        let wanted = |method: &Method| rows().find(|route| route.method == *method);
        let head_as_get = || {
            (*method == Method::HEAD)
                .then(|| wanted(&Method::GET))
                .flatten()
        };
        let Some(route) = wanted(method).or_else(head_as_get) else {
            let mut allow: Vec<_> = rows().map(|route| route.method.as_str()).collect();
            allow.sort_unstable();
            return Some(Found::OtherMethods(allow.join(", ")));
        };
        let names = route.names();
        let values = matched.params.iter().map(|(_, value)| unescaped(value));
        Some(Found::Route(route, names.zip(values).collect()))
    }
}

impl Route {
    /// The names of the path's variables, in order.
    pub(crate) fn names(&'static self) -> impl Iterator<Item = &'static str> {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The path without doubled slashes and one at its end; none when it is clean.
fn cleaned(path: &str) -> Option<String> {
    if !(path.contains("//") || path.len() > 1 && path.ends_with('/')) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", parts.join("/")))
}

/// In a path a `+` is itself.
pub(super) fn unescaped(value: &str) -> String {
    query::decode(&value.replace('+', "%2B")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_too_many_do_not_matter() {
        for (path, clean) in [
            ("/api/v2.0/quotas/", Some("/api/v2.0/quotas")),
            ("//api//v2.0/quotas", Some("/api/v2.0/quotas")),
            ("/api/v2.0/quotas", None),
            ("/", None),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }

    #[test]
    fn a_variable_is_unescaped_once() {
        for (value, once) in [
            ("a%252Fb", "a%2Fb"),
            ("a%2Fb", "a/b"),
            ("a+b", "a+b"),
            ("plain", "plain"),
        ] {
            assert_eq!(unescaped(value), once);
        }
    }
}
