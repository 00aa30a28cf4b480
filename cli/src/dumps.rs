//! The process keeps its memory to itself: what is in it, riders' subjects and keys among them, belongs in no file (D34).

use std::io;

use rlimit::Resource;

/// No core dump is written when the process ends badly, and where the system knows how, other processes of the same
/// user may not look into it. Whoever is root may still.
pub(crate) fn forbid() -> io::Result<()> {
    Resource::CORE.set(0, 0)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_dumped_any_more() {
        forbid().unwrap();
        assert_eq!(Resource::CORE.get().unwrap(), (0, 0));
        #[cfg(target_os = "linux")]
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            rustix::process::DumpableBehavior::NotDumpable
        );
    }
}
