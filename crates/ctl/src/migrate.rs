//! `turnctl migrate`: from a running coturn to this server, and back.
//!
//! Owns the course of it: look, plan, say, and with `--apply` do it step by step, undoing all of it where one step fails. What there
//! is to know is the matter of `migrate/host.rs`, what is to be done that of `migrate/plan.rs`. Never changes coturn's file.

mod host;
mod plan;
mod steps;
mod verify;

use std::fmt::Write as _;

use crate::Output;
use crate::cli::MigrateArgs;
use crate::failure::Failure;

use self::host::Host;
use self::plan::Plan;

/// Says what is to be done, or does it; `now` is seconds since 1970-01-01 00:00 UTC.
pub(crate) fn run(args: &MigrateArgs, now: u64) -> Result<Output, Failure> {
    let host = Host::new(&args.root);
    let plan = if args.back {
        Plan::back(&host, args)?
    } else {
        Plan::forward(&host, args)?
    };
    let mut text = plan.describe();
    if !plan.problems.is_empty() {
        print!("{text}");
        return Err(Failure::new(match plan.problems.len() {
            1 => "a problem stands in the way; nothing was changed".to_owned(),
            count => format!("{count} problems stand in the way; nothing was changed"),
        })
        .help("mend what is said above, then run the command again"));
    }
    if plan.steps.is_empty() {
        text.push_str("\nNothing is left to do.\n");
        return Ok(Output::new(text));
    }
    if !args.apply {
        let back = if args.back { " --back" } else { "" };
        let _ = writeln!(
            text,
            "\nNothing was changed. `turnctl migrate{back} --apply` does it."
        );
        return Ok(Output::new(text));
    }
    if !host.is_root() {
        return Err(Failure::new("only root may do this").help("run the command with sudo"));
    }
    // Said before it is done: a step may take seconds.
    println!("{text}");
    steps::apply(&host, &plan, now)?;
    Ok(Output::new(plan.afterwards()))
}
