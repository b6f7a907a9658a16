//! `turnctl completions` and `turnctl man`: what is made from the command lines of both programs.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use turnbuckle_config::command_line;

use crate::Output;
use crate::cli::{Cli, CompletionsArgs, ManArgs, Program};
use crate::failure::Failure;
use crate::format_pages;

/// A script that teaches a shell the options of one program.
pub(crate) fn shell(args: &CompletionsArgs) -> Output {
    let (mut command, name) = match args.program {
        Program::Turnctl => (Cli::command(), "turnctl"),
        Program::Turnbuckle => (command_line::command(), "turnbuckle"),
    };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    Output::new(String::from_utf8_lossy(&script).into_owned())
}

/// The manual pages of both programs, each command of `turnctl` with its own, and of both formats of the configuration.
pub(crate) fn manual(args: &ManArgs) -> Result<Output, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!(
            "{} cannot be written to: {error}",
            args.directory.display()
        ))
    };
    fs::create_dir_all(&args.directory).map_err(failed)?;
    for command in [command_line::command(), Cli::command()] {
        pages(command, &args.directory).map_err(failed)?;
    }
    for (name, page) in format_pages::pages() {
        fs::write(args.directory.join(name), page).map_err(failed)?;
    }
    Ok(Output::new(String::new()))
}

/// A page for the command and one for each command below it, `turnctl-config-check.8` for one.
fn pages(command: Command, directory: &Path) -> std::io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut left = vec![(command.get_name().to_owned(), command)];
    while let Some((name, command)) = left.pop() {
        for below in command
            .get_subcommands()
            .filter(|below| !below.is_hide_set())
        {
            left.push((format!("{name}-{}", below.get_name()), below.clone()));
        }
        let mut page = Vec::new();
        Man::new(command.name(name.clone()))
            .section(SECTION)
            .manual("Turnbuckle")
            .render(&mut page)?;
        fs::write(directory.join(format!("{name}.{SECTION}")), page)?;
    }
    Ok(())
}

/// System administration commands, as `man` has it.
const SECTION: &str = "8";
