//! `turnbuckle`: the TURN and STUN relay server.
//!
//! Exit status: 0 after a signal, 1 if the server could not start or go on, 2 for a wrong configuration or command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;

mod allowance;
mod cli;
mod clock;
#[allow(dead_code, reason = "asked by whoever looks after the server")]
mod control;
mod deployment;
mod failures;
mod health;
mod http;
mod listen;
mod log;
mod metrics;
mod operation;
mod pace;
mod peer_sockets;
mod privileges;
mod revoked;
mod server;
mod session_log;
mod settings_file;
mod shard;
mod sockets;
mod start_block;
mod systemd;
mod throttle;
mod tls;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let loaded = match settings_file::load(&args) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error, WRONG_CONFIGURATION),
    };
    let Some(settings) = loaded.settings else {
        return ExitCode::from(WRONG_CONFIGURATION);
    };
    let settings = Arc::new(settings);
    let file = loaded.file.as_deref();
    let identity = match privileges::Identity::of(&settings) {
        Ok(identity) => identity,
        Err(error) => return fail(&error, WRONG_CONFIGURATION),
    };
    let run = move || -> Result<()> {
        if args.check {
            let deployment = deployment::Deployment::plan(&settings)?;
            print!("{}", start_block::start_block(&settings, &deployment, file));
            println!("The configuration is good.");
            return Ok(());
        }
        let log = log::Log::start(&settings.log)?;
        let deployment = deployment::Deployment::plan(&settings)?;
        server::run(args, &settings, deployment, file, identity.as_ref(), &log)
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, CANNOT_RUN),
    }
}

fn fail(error: &anyhow::Error, status: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(status)
}

const CANNOT_RUN: u8 = 1;
const WRONG_CONFIGURATION: u8 = 2;
