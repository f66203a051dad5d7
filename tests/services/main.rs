//! The services door: two nodes, each in a network namespace of its own, with a wire between them.

mod answers;
mod bytes;
mod changes;
mod check;
mod control;
mod dns;
mod floods;
mod life;
mod many;
mod member;
mod named;
mod openings;
mod pex;
mod programs;
mod proxy;
mod refusals;
mod resolver;
mod scene;
mod stuck;
mod targets;
mod told;
mod udp;
