//! `seawall key`: the keys that sign and encrypt.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, say},
};
use crate::control::request::Request;

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
    /// The key that signs the tokens of clients, on all nodes
    Token {
        /// What the keys before it signed counts no more: the clients ask for new tokens by themselves
        #[arg(long)]
        revoke: bool,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let Command::Rotate {
        which: Which::Token { revoke },
    } = command;
    on_registry(&place, async |session| {
        let id: String = session.ask(Request::KeyRotateToken { revoke }).await?;
        if place.json {
            screen::json(&serde_json::json!({ "id": id, "revoked": revoke }));
        } else {
            let before = if revoke {
                "tokens that were signed before count no more"
            } else {
                "tokens that were signed before still count"
            };
            say(&format!("key {id} signs tokens now; {before}"));
        }
        Ok(())
    })
}
