//! Who may send how much on one stream.
//!
//! Both ends of a stream start with [`INITIAL_CREDIT`]. Of every byte that the sender was ever allowed, it is at any
//! time in exactly one place: unsent credit, unread in the receiver's buffer, or consumed and not yet returned.

use orrery_wire::frame::INITIAL_CREDIT;

/// Consumed bytes are returned in lots of this size, so that credit frames are few. It must be at most
/// [`INITIAL_CREDIT`], or a sender that used all of its credit would wait for ever.
const RETURN_LOT: u32 = INITIAL_CREDIT / 4;

/// What this end may still send.
#[derive(Debug, Clone)]
pub struct SendCredit {
    left: u32,
}

impl Default for SendCredit {
    fn default() -> Self {
        Self { left: INITIAL_CREDIT }
    }
}

impl SendCredit {
    /// Bytes that may be sent now.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left as usize
    }

    /// The other end allows `bytes` more. More than `u32::MAX` altogether counts as `u32::MAX`.
    pub fn grant(&mut self, bytes: u32) {
        self.left = self.left.saturating_add(bytes);
    }

    /// Records that `bytes` were sent; at most [`SendCredit::left`].
    pub fn spend(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        debug_assert!(bytes <= self.left, "a sender reads no more than its credit");
        self.left = self.left.saturating_sub(bytes);
    }
}

/// What the other end may still send, and what is to be given back to it.
#[derive(Debug, Clone)]
pub struct ReceiveWindow {
    allowed: u32,
    consumed: u32,
}

/// The other end sent more than it was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{excess} bytes were sent beyond the credit")]
pub struct Overrun {
    /// By how many bytes.
    pub excess: usize,
}

impl Default for ReceiveWindow {
    fn default() -> Self {
        Self { allowed: INITIAL_CREDIT, consumed: 0 }
    }
}

impl ReceiveWindow {
    /// Takes note of `bytes` that arrived.
    ///
    /// # Errors
    /// When they are more than allowed; nothing is noted then, and the bytes must be dropped.
    pub fn receive(&mut self, bytes: usize) -> Result<(), Overrun> {
        let allowed = self.allowed as usize;
        let excess = bytes.saturating_sub(allowed);
        if excess > 0 {
            return Err(Overrun { excess });
        }
        self.allowed -= u32::try_from(bytes).expect("not over the allowed amount, which is a u32");
        Ok(())
    }

    /// Takes note that `bytes` of those received are out of the buffer; the credit to send to the other end, if it is
    /// time for some.
    #[must_use]
    pub fn consume(&mut self, bytes: usize) -> Option<u32> {
        self.consumed = self.consumed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.consumed < RETURN_LOT {
            return None;
        }
        let granted = std::mem::take(&mut self.consumed);
        self.allowed = self.allowed.saturating_add(granted);
        Some(granted)
    }
}
