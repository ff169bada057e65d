//! Tests over real sockets. Where a time-out is awaited the clock is paused: it jumps when nothing else is left to do.

mod clients;
mod harness;
mod http;
mod limits;
mod listeners;
mod refusal;
mod reload;
mod stop;
mod tls;
