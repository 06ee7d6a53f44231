//! Consent before a command writes: the flag, and the database's name typed by hand.
#![allow(clippy::print_stderr)] // the prompt goes to standard error

use super::args::ConfirmArgs;
use super::failure::Refusal;
use remelt::analysis::printable;
use std::io::{BufRead, IsTerminal, Write};

/// Asks for consent to `what`, which is one sentence, on database `db`.
///
/// # Errors
/// [`Refusal`] without `--confirm`, without a terminal to type on, or when something else is typed.
pub(crate) fn consent(args: &ConfirmArgs, what: &str, db: &str) -> anyhow::Result<()> {
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
    let mut stderr = std::io::stderr().lock();
    let (what, shown) = (printable(what), printable(db));
    write!(stderr, "This will {what}.\nType the database's name ({shown}) to go on: ")?;
    stderr.flush()?;
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() != db {
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
