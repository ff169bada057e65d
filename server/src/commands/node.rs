//! `seawall node`: the processes that serve this registry.

use anyhow::Result;
use clap::Subcommand;

use super::{
    Place, on_registry,
    screen::{self, say, table},
};
use crate::control::{answer::Node, request::Request};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the nodes, and what is wrong with each
    #[command(visible_alias = "ls")]
    List,
    /// Let a node take no new work: its /readyz says so, and it begins no jobs. Until `resume`, or until it is started again
    Drain {
        /// As `node list` shows it
        name: String,
    },
    /// Let a node take work again
    Resume {
        /// As `node list` shows it
        name: String,
    },
}

pub fn run(args: Args) -> Result<()> {
    let Args { place, command } = args;
    let json = place.json;
    on_registry(&place, async |session| {
        let (name, drained) = match &command {
            Command::List => {
                let nodes: Vec<Node> = session.ask(Request::NodeList {}).await?;
                if json {
                    screen::json(&nodes);
                } else {
                    show(&nodes);
                }
                return Ok(());
            }
            Command::Drain { name } => (name, true),
            Command::Resume { name } => (name, false),
        };
        let request = Request::NodeDrain {
            name: name.clone(),
            drained,
        };
        let () = session.ask(request).await?;
        let what = if drained {
            "is drained"
        } else {
            "takes work again"
        };
        screen::done("node", name, what, json);
        Ok(())
    })
}

fn show(nodes: &[Node]) {
    let rows: Vec<_> = nodes.iter().map(row).collect();
    let heads = [
        "NAME",
        "STATE",
        "VERSION",
        "HOST",
        "PID",
        "STARTED",
        "SEEN",
        "CLOCK",
        "ADDRESSES",
    ];
    table(heads, &rows, "no node serves this registry");
    for node in nodes.iter().filter(|node| !node.differs.is_empty()) {
        say(&format!(
            "{} has other values of {} than this node: all nodes should have the same",
            screen::printable(&node.name),
            node.differs.join(", ")
        ));
    }
}

fn row(node: &Node) -> [String; 9] {
    let state = match node {
        Node { alive: false, .. } => "gone",
        Node { drained: true, .. } => "drained",
        Node { state, .. } => state,
    };
    [
        node.name.clone(),
        state.to_owned(),
        node.version.clone(),
        node.host.clone(),
        node.pid.to_string(),
        screen::time(&node.started_at),
        screen::time(&node.seen_at),
        format!("{:+} ms", node.clock_offset_ms),
        node.addresses.join(" "),
    ]
}
