//! How much of something may be in use at once on one thread.

use std::cell::Cell;
use std::rc::Rc;

/// So much is left.
#[derive(Debug)]
pub struct Allowance(Cell<usize>);

/// What has been taken of it; given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    of: Rc<Allowance>,
    amount: usize,
}

// === impl Allowance ===

impl Allowance {
    /// `most` at once.
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self(Cell::new(most)))
    }

    /// Takes `amount` if there is as much.
    pub fn take(self: &Rc<Self>, amount: usize) -> Option<Share> {
        let left = self.0.get().checked_sub(amount)?;
        self.0.set(left);
        Some(Share { of: Rc::clone(self), amount })
    }
}

// === impl Share ===

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.set(self.of.0.get() + self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let allowance = Allowance::new(3);
        let two = allowance.take(2).unwrap();
        assert!(allowance.take(2).is_none());
        let one = allowance.take(1).unwrap();
        drop(two);
        assert!(allowance.take(3).is_none());
        drop(one);
        assert!(allowance.take(3).is_some());
    }
}
