mod config;
mod listen;
mod telemetry;

fn main() {}
