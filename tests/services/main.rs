//! The services door: two nodes, each in a network namespace of its own, with a wire between them.

mod bytes;
mod life;
mod refusals;
mod scene;
