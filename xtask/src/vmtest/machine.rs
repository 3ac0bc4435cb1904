//! The emulated machine: started, listened to, ended.
//!
//! Not for what is in it: see `image`. The words it says at the end are `image`'s too.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::debian::{Kernel, Qemu};
use super::image::{DONE, Image};
use crate::shell;
use crate::test::Tally;

/// Enough for the image, which is unpacked into memory, and for the tests.
const MEMORY_MIB: &str = "3072";
/// How much of the kernel's log is shown when it did not come to its end.
const TAIL: usize = 60;

/// Whatever the kernel complains of is a failure: it stops, which ends the machine (`-no-reboot`).
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 loglevel=5 panic=-1 oops=panic panic_on_warn=1 mitigations=off";

/// Boots it, passes on what it says, and counts; an error where it did not come to its end.
pub(super) fn run(qemu: &Qemu, kernel: &Kernel, image: &Image, limit: Duration) -> Result<Tally> {
    let console = image.folder.join("console.log");
    let mut command = command(qemu, kernel, image, &console, limit);
    eprintln!("    {}", shell::line(&command));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shell::line(&command)))?;
    let stdout = child.stdout.take().context("QEMU has no output")?;
    let heard = listen(BufReader::new(stdout), &mut std::io::stdout().lock());
    let status = child.wait().context("QEMU cannot be waited for")?;
    let (tally, done) = heard?;
    if done && status.success() {
        return Ok(tally);
    }
    let log = std::fs::read(&console).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    eprintln!("\nThe end of the kernel's log ({}):\n{}", console.display(), tail(&log));
    // That of timeout(1).
    if status.code() == Some(124) {
        bail!("the machine was still running after {} minutes and was ended", limit.as_secs() / 60);
    }
    bail!("the machine ended before all tests had run ({status}): see the kernel's log above");
}

fn command(
    qemu: &Qemu,
    kernel: &Kernel,
    image: &Image,
    console: &Path,
    limit: Duration,
) -> Command {
    let (program, data) = qemu.arguments();
    // It ends with us, however we end.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--", "timeout", "--kill-after=5"]);
    command.arg(limit.as_secs().to_string());
    if let Some(libraries) = qemu.library_path() {
        command.args(["env", &format!("LD_LIBRARY_PATH={libraries}")]);
    }
    command.arg(program).args(data);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // Emulated, on whatever machine: nested virtualisation is not there, or not to be relied on.
    command.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", MEMORY_MIB]);
    // A nanosecond an instruction, and none while there is nothing to do: to the tests time passes as their work
    // does, so no deadline is missed for the emulator's slowness or the load of what it runs on, and waits cost nothing
    // (https://www.qemu.org/docs/master/devel/tcg-icount.html).
    command.args(["-icount", "shift=0,sleep=off", "-rtc", "base=utc,clock=vm"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&image.archive);
    command.args(["-append", KERNEL_ARGUMENTS]);
    command.args(["-serial", &format!("file:{}", console.display()), "-serial", "stdio"]);
    command
}

/// Counts results, and whether the last word was said.
fn listen(mut from: impl BufRead, to: &mut impl Write) -> Result<(Tally, bool)> {
    let (mut tally, mut done) = (Tally::default(), false);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).context("the machine's output broke off")? > 0 {
        let text = String::from_utf8_lossy(&line);
        if text.trim() == DONE {
            done = true;
        } else {
            to.write_all(&line).and_then(|()| to.flush()).context("cannot write to stdout")?;
        }
        if let Some(result) = Tally::from_line(&text) {
            tally += result;
        }
        line.clear();
    }
    Ok((tally, done))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_count_and_only_the_last_word_tells_that_all_was_run() {
        let said = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n";
        let mut passed_on = Vec::new();
        let heard = listen(said.as_bytes(), &mut passed_on).unwrap();
        assert_eq!(heard, (Tally { passed: 2, failed: 0 }, false));
        assert_eq!(passed_on, said.as_bytes());
        let whole = format!("{said}{DONE}\r\n");
        assert!(listen(whole.as_bytes(), &mut Vec::new()).unwrap().1);
        let in_a_test = format!("{said}it said {DONE}\n");
        assert!(!listen(in_a_test.as_bytes(), &mut Vec::new()).unwrap().1);
    }

    #[test]
    fn of_a_long_log_the_end_is_shown() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let end = tail(&log);
        assert!(end.starts_with("line 40\n") && end.ends_with("line 99"), "{end}");
        assert_eq!(tail("one"), "one");
    }
}
