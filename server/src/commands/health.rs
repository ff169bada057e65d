//! `seawall health`: for checks of containers, keepalived and people. One line of reason; the exit code says it to scripts.

use std::{
    io::{Read, Write},
    net::{TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

#[derive(clap::Args)]
pub struct Args {
    /// Host and port of the server
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    address: String,
    /// Ask whether it may hold the virtual address
    #[arg(long)]
    vip: bool,
    /// Seconds to wait for the answer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
}

pub fn run(args: &Args) -> ExitCode {
    match ask(args) {
        Ok((200, body)) => {
            super::screen::say(&body);
            ExitCode::SUCCESS
        }
        Ok((_, body)) => {
            super::screen::say(&body);
            ExitCode::from(1)
        }
        Err(error) => {
            super::screen::complain(&anyhow::anyhow!("no answer from {}: {error}", args.address));
            ExitCode::from(2)
        }
    }
}

/// Status and body. Plain blocking calls: a check every second must cost next to nothing.
fn ask(args: &Args) -> anyhow::Result<(u16, String)> {
    let patience = Duration::from_secs(args.timeout);
    let address = args
        .address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| anyhow::anyhow!("the name has no address"))?;
    let mut connection = TcpStream::connect_timeout(&address, patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    let path = if args.vip {
        "/readyz?role=vip"
    } else {
        "/readyz"
    };
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        args.address
    )?;
    let mut answer = String::new();
    connection.take(64 * 1024).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| anyhow::anyhow!("it does not speak HTTP"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| anyhow::anyhow!("it does not speak HTTP"))?;
    Ok((status, body.trim().to_owned()))
}
