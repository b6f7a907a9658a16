//! What is done with arbitrary input, and what must hold whatever it is.
//!
//! Owns the targets: functions that take bytes and panic where something is wrong. `tests/corpus.rs` runs them over the
//! committed corpus and mutations of it; the package in `fuzz/` runs the same functions under libFuzzer. It must not
//! know who calls: no file, no clock, no randomness that does not come from the input.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod config;
mod decode;
mod input;
mod integrity;
mod oracle;
mod relay;
mod stream;

pub use config::config;
pub use decode::decode;
pub use integrity::integrity;
pub use oracle::oracle;
pub use relay::relay;
pub use stream::stream;

/// A function that panics if its input shows a bug.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the binary in `fuzz/targets` and of the directory in `fuzz/corpus`.
    pub name: &'static str,
    /// What is run.
    pub run: fn(&[u8]),
    /// Longer inputs find nothing that shorter ones do not, in bytes.
    pub input_max: usize,
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target {
        name: "decode",
        run: decode,
        input_max: 1024,
    },
    Target {
        name: "integrity",
        run: integrity,
        input_max: 1024,
    },
    Target {
        name: "stream",
        run: stream,
        input_max: 2048,
    },
    Target {
        name: "relay",
        run: relay,
        input_max: 512,
    },
    Target {
        name: "config",
        run: config,
        input_max: 512,
    },
    Target {
        name: "oracle",
        run: oracle,
        input_max: 1024,
    },
];
