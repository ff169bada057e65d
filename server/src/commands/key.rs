//! `seawall key`: the keys that sign and encrypt.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, say},
};
use crate::control::{Session, request::Request};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Use a new key from now on
    Rotate {
        #[command(subcommand)]
        which: Which,
    },
}

#[derive(Subcommand)]
enum Which {
    /// The key file: what the database keeps encrypted is encrypted anew with `FILE.next`, which takes its place on all nodes
    #[command(name = "secretkey")]
    SecretKey {
        /// Change it again although uploads may go on that began before the last change: they have to begin anew
        #[arg(long)]
        early: bool,
    },
    /// The key that signs the tokens of clients, on all nodes
    Token {
        /// What the keys before it signed counts no more: the clients ask for new tokens by themselves
        #[arg(long)]
        revoke: bool,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let Command::Rotate { which } = command;
    on_registry(&place, async |session| match which {
        Which::SecretKey { early } => rotate_secret_key(session, early, place.json).await,
        Which::Token { revoke } => rotate_token_key(session, revoke, place.json).await,
    })
}

async fn rotate_secret_key(session: &Session, early: bool, json: bool) -> Result<()> {
    let request = Request::KeyRotateSecretKey { early };
    let fingerprint: String = session.ask(request).await?;
    if json {
        screen::json(&serde_json::json!({ "fingerprint": fingerprint }));
        return Ok(());
    }
    say(&format!(
        "key {fingerprint} encrypts the database's secrets now; the nodes put it in the place of their key files within seconds"
    ));
    say(
        "make a copy of the key file, apart from the backups; those from before need the one that ends in `.previous`",
    );
    Ok(())
}

async fn rotate_token_key(session: &Session, revoke: bool, json: bool) -> Result<()> {
    let id: String = session.ask(Request::KeyRotateToken { revoke }).await?;
    if json {
        screen::json(&serde_json::json!({ "id": id, "revoked": revoke }));
        return Ok(());
    }
    let before = if revoke {
        "tokens that were signed before count no more"
    } else {
        "tokens that were signed before still count"
    };
    say(&format!("key {id} signs tokens now; {before}"));
    Ok(())
}
