//! A client that says exactly what a test wants said: one connection a request, nothing followed, nothing hidden.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Clients that were made: not all of them begin with the same node.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

#[derive(Clone)]
pub struct Client {
    /// Of several nodes each gets the next request in its turn.
    addresses: Vec<String>,
    turn: Arc<AtomicUsize>,
    authorization: Option<String>,
}

/// A request being put together.
pub struct Request<'a> {
    address: &'a str,
    builder: http::request::Builder,
    body: Bytes,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(address: &str) -> Self {
        Self::of_many(vec![address.to_owned()])
    }

    /// Of several nodes that are one registry.
    pub fn of_many(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            turn: Arc::new(AtomicUsize::new(BEGUN.fetch_add(1, Ordering::Relaxed))),
            authorization: None,
        }
    }

    #[must_use]
    pub fn with_basic(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(format!(
            "Basic {}",
            STANDARD.encode(format!("{user}:{password}"))
        ));
        self
    }

    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub fn request(&self, method: &str, path: &str) -> Request<'_> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = &self.addresses[turn % self.addresses.len()];
        // They are one to whoever asks.
        let mut builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address());
        if let Some(authorization) = &self.authorization {
            builder = builder.header("authorization", authorization);
        }
        Request {
            address,
            builder,
            body: Bytes::new(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send().await
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.request("PUT", path).body(body).send().await
    }

    pub async fn post(&self, path: &str) -> Answer {
        self.request("POST", path).send().await
    }

    /// A request of Harbor's API with a body; the path is what follows `/api/v2.0`.
    pub async fn api(&self, method: &str, path: &str, body: &serde_json::Value) -> Answer {
        self.request(method, &format!("/api/v2.0{path}"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
    }

    /// A read of Harbor's API; the path is what follows `/api/v2.0`.
    pub async fn api_get(&self, path: &str) -> Answer {
        self.get(&format!("/api/v2.0{path}")).await
    }

    /// A token with these scopes.
    pub async fn token(&self, scopes: &str) -> Client {
        let answer = self
            .get(&format!(
                "/service/token?service=harbor-registry&scope={}",
                scopes.replace(' ', "%20")
            ))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        let mut client = self.clone();
        client.authorization = None;
        client.with_bearer(&token)
    }
}

impl Request<'_> {
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// An error when the connection broke.
    pub async fn try_send(self) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = self.builder.body(Full::new(self.body))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer {
                status: head.status,
                headers: head.headers,
                body,
            })
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => Ok(answer?),
            ended = connection => { ended?; Ok(exchange.await?) }
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of the first error in the envelope.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The text of the first error in the envelope.
    pub fn message(&self) -> String {
        self.json()["errors"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Fails with the answer's text when the status is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// Fails unless it is this status with this code in the envelope.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.code().as_str()),
            (status, code),
            "{}",
            self.text()
        );
        self
    }
}
