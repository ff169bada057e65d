//! A real OpenStack Swift, as `with-swift.sh` starts one, and Ceph's gateway in the same interface (`with-s3.sh`).

use outbound::{Limits, Outbound, Proxy, Trust};
use serde_json::{Value, json};

use crate::{Method, left_out};

/// A server on which tests may make containers, with the v1 of authentication.
#[derive(Debug, Clone)]
pub struct Swift {
    pub auth_url: String,
    pub user: String,
    pub key: String,
}

/// A Keystone, for the same Swift.
#[derive(Debug, Clone)]
pub struct Keystone {
    pub auth_url: String,
    pub user: String,
    pub password: String,
    /// Like the user, of the default domain.
    pub project: String,
}

/// The server that `TEST_SWIFT` names, as `AUTH_URL USER KEY`; `None` (said loudly) without one.
pub fn swift() -> Option<Swift> {
    named("TEST_SWIFT").or_else(|| {
        left_out(
            "swift",
            "no OpenStack Swift (`testkit/with-swift.sh` starts one where it is installed)",
        );
        None
    })
}

/// Ceph's gateway, which `TEST_CEPH_SWIFT` names in the same way.
pub fn ceph_swift() -> Option<Swift> {
    named("TEST_CEPH_SWIFT").or_else(|| {
        left_out(
            "ceph-swift",
            "no gateway of Ceph's with Swift's interface (`testkit/with-s3.sh` starts one where Ceph is installed)",
        );
        None
    })
}

/// The server that `TEST_KEYSTONE` names, as `AUTH_URL USER PASSWORD PROJECT`; `None` (said loudly) without one.
pub fn keystone() -> Option<Keystone> {
    let told = std::env::var("TEST_KEYSTONE").unwrap_or_default();
    let mut parts = told.split_whitespace().map(str::to_owned);
    let (Some(auth_url), Some(user), Some(password), Some(project)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        left_out(
            "keystone",
            "no Keystone (`testkit/with-swift.sh` starts one where it is installed)",
        );
        return None;
    };
    Some(Keystone {
        auth_url,
        user,
        password,
        project,
    })
}

fn named(variable: &str) -> Option<Swift> {
    let told = std::env::var(variable).unwrap_or_default();
    let mut parts = told.split_whitespace().map(str::to_owned);
    Some(Swift {
        auth_url: parts.next()?,
        user: parts.next()?,
        key: parts.next()?,
    })
}

/// A name that no container has.
pub fn new_container() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

impl Swift {
    /// Makes a container with a name of its own.
    pub async fn fresh_container(&self) -> String {
        let name = new_container();
        self.call(Method::PUT, &name).await;
        name
    }

    /// Does something beside the store under test: a call without a body that must go well, on `CONTAINER[/KEY]?QUERY`. Answers the
    /// body.
    pub async fn call(&self, method: Method, what: &str) -> String {
        let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
        let client = outbound.client(Limits::QUESTION).await.expect("a client");
        let asked = client
            .get(&self.auth_url)
            .header("x-auth-user", &self.user)
            .header("x-auth-key", &self.key);
        let granted = asked.send().await.expect("it answers");
        let header = |name: &str| {
            let value = granted.headers().get(name).expect("a header");
            value.to_str().expect("a text").to_owned()
        };
        let url = format!("{}/{what}", header("x-storage-url"));
        let sent = client
            .request(method, url)
            .header("x-auth-token", header("x-auth-token"))
            .header("content-length", 0);
        let answer = sent.send().await.expect("it answers");
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{status}: {text}");
        text
    }
}

impl Keystone {
    pub async fn client(&self) -> reqwest::Client {
        let outbound = Outbound::new(Trust::new(&[]), Proxy::default());
        outbound.client(Limits::QUESTION).await.expect("a client")
    }

    /// What OpenStack's own programs look for.
    pub fn environment(&self) -> Vec<(String, String)> {
        let said = [
            ("OS_AUTH_URL", &self.auth_url),
            ("OS_USERNAME", &self.user),
            ("OS_PASSWORD", &self.password),
            ("OS_PROJECT_NAME", &self.project),
        ];
        let owned = said.map(|(name, value)| (name.to_owned(), value.clone()));
        owned.into()
    }

    /// A token, the answer's body, and Swift's address.
    async fn token(&self) -> (String, Value, String) {
        let domain = json!({ "id": "default" });
        let asked = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user":
                { "name": self.user, "domain": domain, "password": self.password } } },
            "scope": { "project": { "name": self.project, "domain": domain } },
        }});
        let url = format!("{}/auth/tokens", self.auth_url);
        let answer = self.client().await.post(url).json(&asked).send().await;
        let answer = answer.expect("it answers");
        let token = answer.headers().get("x-subject-token").expect("a token");
        let token = token.to_str().expect("a text").to_owned();
        let body: Value = answer.json().await.expect("an answer");
        let catalog = body["token"]["catalog"].as_array().expect("a catalog");
        let swift = catalog
            .iter()
            .find(|service| service["type"] == "object-store");
        let url = swift.expect("Swift")["endpoints"][0]["url"].as_str();
        let url = url.expect("an address").to_owned();
        (token, body, url)
    }

    /// Makes a container with a name of its own.
    pub async fn fresh_container(&self) -> String {
        let (token, _, url) = self.token().await;
        let name = new_container();
        let made = self.client().await.put(format!("{url}/{name}"));
        let made = made
            .header("x-auth-token", token)
            .header("content-length", 0);
        let made = made.send().await.expect("it answers");
        assert!(made.status().is_success(), "{:?}", made.text().await);
        name
    }

    /// An application credential of the user's: its id and its secret.
    pub async fn fresh_credential(&self) -> (String, String) {
        let (token, body, _) = self.token().await;
        let user = body["token"]["user"]["id"].as_str().expect("an id");
        let url = format!("{}/users/{user}/application_credentials", self.auth_url);
        let asked = json!({ "application_credential": { "name": new_container() } });
        let made = self.client().await.post(url).json(&asked);
        let made = made
            .header("x-auth-token", token)
            .send()
            .await
            .expect("it answers");
        let made: Value = made.json().await.expect("an answer");
        let text = |name: &str| {
            let value = made["application_credential"][name].as_str();
            value.expect("a text").to_owned()
        };
        (text("id"), text("secret"))
    }
}
