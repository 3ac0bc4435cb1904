//! Every way out of a connect, counted.

use nodeway_ebpf::Exit;

use crate::maps::EXITS;

/// The connect goes on, to the destination that the context holds now.
const ALLOW: i32 = 1;
/// connect(2) fails with EPERM.
const DENY: i32 = 0;

/// Leaves by `exit`, letting the connect go on.
#[inline(always)]
pub(crate) fn allow(exit: Exit) -> i32 {
    count(exit);
    ALLOW
}

/// Leaves by `exit`, refusing the connect.
#[inline(always)]
pub(crate) fn deny(exit: Exit) -> i32 {
    count(exit);
    DENY
}

#[inline(always)]
fn count(exit: Exit) {
    if let Some(counter) = EXITS.get_ptr_mut(exit as u32) {
        // SAFETY: the verifier has seen the null check; the slot is this CPU's own. A program that is
        // preempted right here may lose one count (this target has no atomic addition): that is fine.
        unsafe { *counter += 1 };
    }
}
