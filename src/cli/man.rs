//! `remelt man`.

use super::args::{Cli, ManArgs};
use super::failure::{Exit, Refusal};
use super::output::Output;
use clap::CommandFactory;
use remelt::publish::io_reason;
use serde_json::json;
use std::io;
use std::path::Path;

pub(crate) fn run(args: &ManArgs, output: &Output) -> anyhow::Result<Exit> {
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(program()).render(&mut page)?;
        let page = String::from_utf8_lossy(&page);
        output.result(&json!({"page": page}), &page)?;
        return Ok(Exit::Done);
    };
    let pages = write(directory).map_err(|error| Refusal {
        exit: Exit::Failed,
        code: "io",
        message: format!(
            "could not write manual pages to {}: {}; name another directory",
            directory.display(),
            io_reason(&error)
        ),
    })?;
    let text = format!(
        "Wrote {} manual pages to {}.\nTry: man -l {}\n",
        pages.len(),
        directory.display(),
        directory.join("remelt.1").display()
    );
    output.result(&json!({"path": directory.display().to_string(), "pages": pages}), &text)?;
    Ok(Exit::Done)
}

fn program() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

/// Writes a page for the program and one for each command; gives their names.
fn write(directory: &Path) -> io::Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let program = program();
    let commands =
        program.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| {
            let name = format!("remelt-{}", command.get_name());
            let usage = format!("remelt {}", command.get_name());
            command.clone().name(name).bin_name(usage)
        });
    let mut pages = Vec::new();
    for command in std::iter::once(program.clone()).chain(commands) {
        let name = format!("{}.1", command.get_name());
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        std::fs::write(directory.join(&name), page)?;
        pages.push(name);
    }
    Ok(pages)
}
