//! Consent before a command writes: the flag, and the database's name typed by hand.
#![allow(clippy::print_stderr)] // the prompt goes to standard error

use super::args::ConfirmArgs;
use super::failure::Refusal;
use super::output::print_lines;
use super::render::prose;
use remelt::analysis::printable_line;
use std::io::{BufRead, IsTerminal, Write};

/// What a command is about to do.
pub(crate) struct Intent<'a> {
    /// One sentence that follows "this will".
    pub(crate) what: String,
    /// The facts to check before consent, each under a word.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The database whose name is to be typed.
    pub(crate) db: &'a str,
}

/// Asks for consent.
///
/// # Errors
/// [`Refusal`] without `--confirm`, without a terminal to type on, or when something else is typed.
pub(crate) fn consent(args: &ConfirmArgs, intent: &Intent<'_>) -> anyhow::Result<()> {
    let Intent { what, facts, db } = intent;
    if !args.confirm {
        return refuse(
            "no_confirmation",
            format!("nothing was done: this would {what}; add --confirm to do it"),
        );
    }
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return refuse(
            "no_confirmation",
            format!(
                "nothing was done: to {what}, the database's name must be typed and there is no terminal; \
             add --yes in scripts"
            ),
        );
    }
    let mut text = String::new();
    prose(&mut text, "", &format!("This will {what}."));
    for (label, fact) in facts {
        prose(&mut text, &format!("  {label:<10} "), fact);
    }
    print_lines(&text);
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Type the database's name ({}) to go on: ", printable_line(db))?;
    stderr.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() != *db {
        return refuse(
            "no_confirmation",
            format!(
                "nothing was done: the name typed is not {db}; run the command again to try once more"
            ),
        );
    }
    Ok(())
}

fn refuse(code: &'static str, message: String) -> anyhow::Result<()> {
    Err(Refusal::new(code, message).into())
}
