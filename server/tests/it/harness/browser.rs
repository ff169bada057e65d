//! A browser: it keeps the cookies that it is given, and its page sends back the token of the last answer.

use std::collections::BTreeMap;

use super::{Answer, Client, PASSWORD};

pub struct Browser {
    client: Client,
    pub cookies: BTreeMap<String, String>,
    /// What the page sends to prove that it is the page.
    pub token: String,
}

impl Browser {
    /// One that has been to the first page.
    pub async fn open(client: Client) -> Self {
        let mut browser = Self {
            client,
            cookies: BTreeMap::new(),
            token: String::new(),
        };
        browser.get("/").await.expect(200);
        browser
    }

    /// One in which somebody signed in with everybody's password.
    pub async fn signed_in(client: Client, name: &str) -> Self {
        let mut browser = Self::open(client).await;
        browser.login(name, PASSWORD).await.expect(200);
        browser
    }

    /// The same browser at another node.
    pub fn at(&self, client: Client) -> Self {
        Self {
            client,
            cookies: self.cookies.clone(),
            token: self.token.clone(),
        }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", "").await
    }

    pub async fn login(&mut self, name: &str, password: &str) -> Answer {
        self.form("/c/login", &[("principal", name), ("password", password)])
            .await
    }

    pub async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pairs = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", oci::query::encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        self.send("POST", path, "application/x-www-form-urlencoded", &body)
            .await
    }

    /// A request of Harbor's API; the path is what follows `/api/v2.0`.
    pub async fn api(&mut self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        let path = format!("/api/v2.0{path}");
        self.send(method, &path, "application/json", &body.to_string())
            .await
    }

    async fn send(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let mut request = self.client.request(method, path).body(body.to_owned());
        for (name, value) in [
            ("cookie", cookies.join("; ").as_str()),
            ("x-harbor-csrf-token", &self.token),
            ("content-type", kind),
        ] {
            if !value.is_empty() {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await;
        self.keep(&answer);
        answer
    }

    fn keep(&mut self, answer: &Answer) {
        for set in answer.headers.get_all("set-cookie") {
            let set = set.to_str().expect("a text");
            let (name, rest) = set.split_once('=').expect("a name");
            let value = rest.split(';').next().unwrap_or_default();
            if set.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(token) = answer.headers.get("x-harbor-csrf-token") {
            token.to_str().expect("a text").clone_into(&mut self.token);
        }
    }
}
