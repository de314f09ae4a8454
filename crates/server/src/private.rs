//! Files that other users of the machine may not read.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Why a file with secrets is refused, if others than its owner may change it, or others than its
/// owner and group may read it.
#[cfg(unix)]
pub(crate) fn check(file: &File) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    const READ_BY_OTHERS: u32 = 0o004;
    const CHANGED_BY_OTHERS: u32 = 0o022;
    let mode = file.metadata().map_err(|error| error.to_string())?;
    let mode = mode.permissions().mode();
    let what = if mode & CHANGED_BY_OTHERS != 0 {
        "changed"
    } else if mode & READ_BY_OTHERS != 0 {
        "read"
    } else {
        return Ok(());
    };
    let mode = mode & 0o777;
    Err(format!(
        "may be {what} by other users (its mode is {mode:o}); make it private with `chmod 600`"
    ))
}

/// Why a file with secrets is refused.
#[cfg(not(unix))]
pub(crate) fn check(_: &File) -> Result<(), String> {
    Ok(())
}

/// Gives a new file the mode and, where that is allowed, the owner of the one whose place it takes: the
/// server may run as another user than who changes the file.
#[cfg(unix)]
pub(crate) fn belong_as(old: &Path, file: &File, new: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let Ok(old) = old.metadata() else {
        return Ok(());
    };
    file.set_permissions(old.permissions())?;
    let _ = chown(new, Some(old.uid()), Some(old.gid()));
    Ok(())
}

/// Gives a new file the owner of the one whose place it takes.
#[cfg(not(unix))]
pub(crate) fn belong_as(_: &Path, _: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a file to write it; a new one is its owner's alone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}
