//! Mail, by way of a server that a site has for it. What fails is said in words that a person at the settings can act on.

use std::{error::Error, fmt, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::{
    Address, Message,
    address::Envelope,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        Error as SmtpError,
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters},
        extension::ClientId,
    },
};

use crate::Trust;

/// For connecting, and for each step after it.
const STEP: Duration = Duration::from_secs(20);
/// For everything.
const WHOLE: Duration = Duration::from_mins(1);

/// The server that mail is handed to.
#[derive(Clone)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// Nobody signs in without it.
    pub username: String,
    pub password: String,
    /// In whose name `username` acts; almost always empty.
    pub identity: String,
    /// An address, or `Name <address>`.
    pub from: String,
    pub security: Security,
    /// Any certificate will do.
    pub insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    None,
    /// STARTTLS, or no mail.
    StartTls,
    /// STARTTLS where the server offers it, as Harbor does without `email_ssl`. Somebody in between may take the offer away.
    WhenOffered,
    /// TLS from the first byte.
    Tls,
}

/// A message of plain text.
#[derive(Debug, Clone)]
pub struct Letter {
    /// An address, or `Name <address>`.
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// Why a letter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("`{0}` is no mail address")]
    Address(String),
    #[error("the message cannot be put together: {0}")]
    Message(String),
    #[error("the mail server `{server}` cannot be reached: {why}")]
    Unreachable { server: String, why: String },
    #[error(
        "the mail server `{server}` offers no STARTTLS: allow a connection without TLS, or use its port for TLS"
    )]
    NoStartTls { server: String },
    #[error("no TLS connection to the mail server `{server}`: {why}")]
    Tls { server: String, why: String },
    #[error("the mail server `{server}` refused the sign-in of `{username}`: {why}")]
    SignIn {
        server: String,
        username: String,
        why: String,
    },
    #[error("the mail server `{server}` refused the message: {why}")]
    Refused { server: String, why: String },
    #[error("the mail server `{server}` did not answer in time")]
    Silent { server: String },
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("username", &self.username)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

impl Server {
    fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn unreachable(&self, error: &SmtpError) -> Fault {
        if is_tls(error) {
            return self.no_tls(error);
        }
        Fault::Unreachable {
            server: self.peer(),
            why: cause(error),
        }
    }

    fn no_tls(&self, error: &SmtpError) -> Fault {
        Fault::Tls {
            server: self.peer(),
            why: cause(error),
        }
    }
}

/// Hands one letter over. Answers when the server has taken it.
pub async fn send(server: &Server, letter: &Letter, trust: &Trust) -> Result<(), Fault> {
    let (envelope, message) = compose(server, letter)?;
    let handed_over = async {
        let mut connection = connect(server, trust).await?;
        let sent = async {
            sign_in(server, &mut connection).await?;
            let sent = connection.send(&envelope, &message).await;
            sent.map_err(|error| Fault::Refused {
                server: server.peer(),
                why: cause(&error),
            })
        }
        .await;
        // The letter is taken, or not: the good-bye changes nothing.
        let _ = connection.quit().await;
        sent.map(|_| ())
    };
    tokio::time::timeout(WHOLE, handed_over)
        .await
        .map_err(|_| Fault::Silent {
            server: server.peer(),
        })?
}

/// Goes as far as signing in, and sends nothing: for whoever tries the settings.
pub async fn try_server(server: &Server, trust: &Trust) -> Result<(), Fault> {
    let tried = async {
        let mut connection = connect(server, trust).await?;
        let signed_in = sign_in(server, &mut connection).await;
        let _ = connection.quit().await;
        signed_in
    };
    tokio::time::timeout(WHOLE, tried)
        .await
        .map_err(|_| Fault::Silent {
            server: server.peer(),
        })?
}

fn compose(server: &Server, letter: &Letter) -> Result<(Envelope, Vec<u8>), Fault> {
    let mailbox = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|_| Fault::Address(text.to_owned()))
    };
    let (from, to) = (mailbox(&server.from)?, mailbox(&letter.to)?);
    let recipients: Vec<Address> = vec![to.email.clone()];
    let envelope = Envelope::new(Some(from.email.clone()), recipients)
        .map_err(|error| Fault::Message(error.to_string()))?;
    let message = Message::builder()
        .from(from)
        .to(to)
        .subject(letter.subject.as_str())
        .date_now()
        .header(ContentType::TEXT_PLAIN)
        .body(letter.text.clone())
        .map_err(|error| Fault::Message(error.to_string()))?;
    Ok((envelope, message.formatted()))
}

async fn connect(server: &Server, trust: &Trust) -> Result<AsyncSmtpConnection, Fault> {
    let me = ClientId::default();
    let tls = match server.security {
        Security::None => None,
        Security::StartTls | Security::WhenOffered | Security::Tls => {
            Some(tls(server, trust).await?)
        }
    };
    let at_once = tls.clone().filter(|_| server.security == Security::Tls);
    let peer = (server.host.as_str(), server.port);
    let mut connection = AsyncSmtpConnection::connect_tokio1(peer, Some(STEP), &me, at_once, None)
        .await
        .map_err(|error| server.unreachable(&error))?;
    if let Some(tls) = tls.filter(|_| server.security != Security::Tls) {
        if connection.can_starttls() {
            let begun = connection.starttls(tls, &me).await;
            begun.map_err(|error| server.no_tls(&error))?;
        } else if server.security == Security::StartTls {
            return Err(Fault::NoStartTls {
                server: server.peer(),
            });
        }
    }
    Ok(connection)
}

/// The one trust store, in the form that lettre takes.
async fn tls(server: &Server, trust: &Trust) -> Result<TlsParameters, Fault> {
    let roots = trust.roots_soon().await;
    let mut parameters = TlsParameters::builder(server.host.clone())
        .certificate_store(CertificateStore::None)
        .dangerous_accept_invalid_certs(server.insecure)
        .dangerous_accept_invalid_hostnames(server.insecure);
    for certificate in &roots.certificates {
        let certificate = Certificate::from_der(certificate.to_vec());
        parameters =
            parameters.add_root_certificate(certificate.map_err(|error| server.no_tls(&error))?);
    }
    parameters
        .build_rustls()
        .map_err(|error| server.no_tls(&error))
}

async fn sign_in(server: &Server, connection: &mut AsyncSmtpConnection) -> Result<(), Fault> {
    if server.username.is_empty() {
        return Ok(());
    }
    let signed_in = if server.identity.is_empty() {
        let credentials = Credentials::new(server.username.clone(), server.password.clone());
        connection
            .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
            .await
    } else {
        // lettre's own PLAIN has no place for another identity (RFC 4616).
        let answer = STANDARD.encode(format!(
            "{}\0{}\0{}",
            server.identity, server.username, server.password
        ));
        connection.command(format!("AUTH PLAIN {answer}\r\n")).await
    };
    signed_in.map(|_| ()).map_err(|error| Fault::SignIn {
        server: server.peer(),
        username: server.username.clone(),
        why: cause(&error),
    })
}

/// What the server said, or else the first cause: lettre's own words for the kinds of errors repeat one another.
fn cause(error: &SmtpError) -> String {
    if error.status().is_some() {
        return error.to_string();
    }
    causes(error).last().unwrap_or(error).to_string()
}

fn causes(error: &SmtpError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let first: &(dyn Error + 'static) = error;
    std::iter::successors(Some(first), |&error| error.source())
}

/// Whether the handshake failed. lettre says so itself only after STARTTLS.
fn is_tls(error: &SmtpError) -> bool {
    error.is_tls()
        || causes(error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .filter_map(io::Error::get_ref)
            .any(<dyn Error + Send + Sync>::is::<rustls::Error>)
}
