//! Network namespaces by name, through iproute2, so that `ip netns` shows and enters them too.

use std::ffi::CString;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where named namespaces stand.
pub const DIR: &str = "/var/run/netns";

/// Makes a namespace with its loopback up, and gives its path.
///
/// # Panics
/// When `ip` refuses.
#[must_use]
pub fn add(name: &str) -> PathBuf {
    let path = add_dark(name);
    batch(Some(name), "link set lo up\n");
    path
}

/// Makes a namespace in which nothing is up yet, and gives its path.
///
/// # Panics
/// When `ip` refuses.
#[must_use]
pub fn add_dark(name: &str) -> PathBuf {
    batch(None, &format!("netns add {name}\n"));
    Path::new(DIR).join(name)
}

/// Gives the namespace at `from` one more path.
///
/// # Panics
/// When it cannot.
pub fn bind(from: &Path, to: &Path) {
    let raw = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path");
    // Whoever looks between the two steps finds a file that is no namespace yet, as with a runtime.
    fs::File::create(to).expect("a mount point");
    let (from, to) = (raw(from), raw(to));
    // SAFETY: NUL-terminated strings that outlive the call, and no data.
    let result = unsafe {
        libc::mount(from.as_ptr(), to.as_ptr(), c"".as_ptr(), libc::MS_BIND, std::ptr::null())
    };
    assert_eq!(result, 0, "mount: {}", std::io::Error::last_os_error());
}

/// Removes the name; the namespace itself goes with its last process and socket.
pub fn remove(name: &str) {
    let path = Path::new(DIR).join(name);
    if let Ok(raw) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: `raw` is a NUL-terminated path that outlives the call.
        unsafe { libc::umount2(raw.as_ptr(), libc::MNT_DETACH) };
    }
    fs::remove_file(path).ok();
}

/// The names that start with `prefix`.
#[must_use]
pub fn with_prefix(prefix: &str) -> Vec<String> {
    let names = fs::read_dir(DIR).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Gives `ip` a batch of commands, in a namespace or in the host's.
///
/// # Panics
/// When one of them fails; the message says which.
pub fn batch(namespace: Option<&str>, commands: &str) {
    let mut ip = Command::new("ip");
    if let Some(name) = namespace {
        ip.args(["-n", name]);
    }
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = ip.spawn().expect("`ip` (iproute2) starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(commands.as_bytes()).expect("`ip` takes its commands");
    drop(stdin);
    let done = child.wait_with_output().expect("`ip` ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {namespace:?}: {said}\n{commands}");
}
