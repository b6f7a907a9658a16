//! What the first bytes of each payload say: which flow, which packet, when it left.
//!
//! Owns the layout. Must not know how a payload travels.

/// Identifies one packet of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the flow, and so of the allocation.
    pub(crate) flow: u32,
    /// Counts the packets of the run.
    pub(crate) sequence: u32,
    /// When it was handed to the kernel, on the [`Clock`](crate::clock::Clock) of the run.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// Bytes a stamp takes; the shortest payload.
    pub(crate) const LEN: usize = 16;

    /// The stamp at the start of `payload`; `None` if it is too short for one.
    #[inline]
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let &[
            f0,
            f1,
            f2,
            f3,
            s0,
            s1,
            s2,
            s3,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
        ] = payload.first_chunk::<{ Self::LEN }>()?;
        Some(Self {
            flow: u32::from_be_bytes([f0, f1, f2, f3]),
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            sent_ns: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        })
    }

    /// Writes the stamp to the start of `payload`, which must have room for it.
    #[inline]
    pub(crate) fn write(self, payload: &mut [u8]) {
        payload[..4].copy_from_slice(&self.flow.to_be_bytes());
        payload[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        payload[8..Self::LEN].copy_from_slice(&self.sent_ns.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let stamp = Stamp {
            flow: 9_999,
            sequence: u32::MAX,
            sent_ns: 0x0102_0304_0506_0708,
        };
        let mut payload = [0xFF; 20];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(payload[16..], [0xFF; 4]);
        assert_eq!(Stamp::read(&payload[..15]), None);
    }
}
