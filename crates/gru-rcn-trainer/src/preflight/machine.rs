//! Memory of the machine, and how much of it the program has taken.

use std::fs;

/// Memory that the machine has, bytes.
pub(crate) fn installed() -> Option<usize> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Memory of the machine that is not in use, bytes.
pub(crate) fn available() -> Option<usize> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Memory that the program may take on this machine, bytes: the machine's, or less where its
/// control group has a limit. `None` where the system does not say.
pub(crate) fn total() -> Option<usize> {
    let machine = installed()?;
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // A group without a limit says "max", or a number beyond all memory.
    let group = limits.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    Some(group.fold(machine, usize::min))
}

/// Memory that the program holds now, bytes.
pub(crate) fn resident() -> Option<usize> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The most that it has held so far, bytes.
pub(crate) fn peak() -> Option<usize> {
    field(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// A field of the kernel's tables in kB, as bytes.
fn field(table: &str, name: &str) -> Option<usize> {
    let value = table.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_kib() {
        let table = "VmPeak:\t  123 kB\nVmHWM:\t    2048 kB\nVmRSS:\tmany\n";
        assert_eq!(field(table, "VmHWM:"), Some(2048 << 10));
        assert_eq!(field(table, "VmRSS:"), None);
        assert_eq!(field(table, "VmSwap:"), None);
    }
}
