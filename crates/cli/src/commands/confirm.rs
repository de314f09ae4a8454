//! Asking before something that cannot be taken back.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Returns when the person agrees to `what`, or agreed beforehand with `--yes`.
///
/// Without a terminal there is no one to ask: the command is refused.
pub(crate) fn confirm(what: &str, is_agreed: bool) -> Result<(), Failure> {
    if is_agreed {
        return Ok(());
    }
    let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !can_ask {
        return Err(Failure::new(
            "unconfirmed",
            format!("this was not confirmed, so nothing happened: {what}"),
            "add --yes to do it, or --dry-run to see what it would do",
        ));
    }
    let ask = || -> io::Result<String> {
        let mut terminal = io::stderr().lock();
        write!(terminal, "{what}. Go on? [y/N] ")?;
        terminal.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(_) => Err(Failure::new(
            "unconfirmed",
            "nothing happened",
            "answer `y` to go on",
        )),
        Err(error) => Err(Failure::io("cannot ask for a confirmation", &error)),
    }
}
