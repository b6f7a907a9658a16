//! Data from one shard to another, for hairpins: a ring of bytes for each ordered pair of shards that has ever had any, written by the
//! one and read by the other without a lock, and a doorbell for each shard, which is only rung while it sleeps.
//!
//! Owns memory and wake-ups. What is permitted is the relays' matter, on both sides.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, mem};

use rtrb::{Consumer, Producer, RingBuffer};
use turnbuckle_net::{HEADROOM, Waker};
use turnbuckle_relay::{Handover, RelayedId, ShardId};

/// How the others reach a shard.
#[derive(Debug)]
pub(crate) struct Doorbell {
    waker: Waker,
    /// The shard waits, or is about to, and wants to be woken.
    sleeps: AtomicBool,
    /// There are new rings to be taken over.
    has_new: AtomicBool,
    new: Mutex<Vec<Consumer<u8>>>,
}

/// All doorbells, by number of the shard.
pub(crate) type Doorbells = Arc<[Arc<Doorbell>]>;

/// One shard's ends of all its rings.
pub(crate) struct Rings {
    own: Arc<Doorbell>,
    doorbells: Doorbells,
    /// By number of the shard that reads.
    outgoing: Vec<Outgoing>,
    /// Shards that have been written to and not been told yet.
    untold: Vec<ShardId>,
    incoming: Vec<Consumer<u8>>,
    /// The incoming ring whose turn it is.
    next: usize,
}

#[derive(Default)]
struct Outgoing {
    /// Made when it is written to for the first time.
    ring: Option<Producer<u8>>,
    /// The shard is in the list of those that have not been told.
    untold: bool,
}

/// What has come from another shard, with its payload in the slot that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) relayed: RelayedId,
    pub(crate) local: SocketAddr,
    pub(crate) source: SocketAddr,
    pub(crate) len: usize,
    pub(crate) tos: u8,
}

impl Doorbell {
    /// One for each of `shards`. Fails if the kernel gives no eventfd.
    pub(crate) fn for_each(shards: usize) -> io::Result<Doorbells> {
        let doorbell = |_| {
            Ok(Arc::new(Self {
                waker: Waker::new()?,
                sleeps: AtomicBool::new(false),
                has_new: AtomicBool::new(false),
                new: Mutex::default(),
            }))
        };
        (0..shards).map(doorbell).collect()
    }

    /// What ends the shard's wait: it waits for this, and takes the wake back afterwards.
    pub(crate) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// To be called by a writer when it has written.
    fn ring(&self) {
        // Pairs with the fence of `fall_asleep`: either this side sees that the other sleeps, or the other sees what is written.
        fence(Ordering::SeqCst);
        if self.sleeps.load(Ordering::Relaxed) && self.sleeps.swap(false, Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    fn hand_over(&self, ring: Consumer<u8>) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.push(ring);
        self.has_new.store(true, Ordering::Relaxed);
    }

    fn take_new(&self, rings: &mut Vec<Consumer<u8>>) {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_new.store(false, Ordering::Relaxed);
        rings.append(&mut new);
    }
}

impl Rings {
    /// The ends of the shard `id`. Fails if none of the doorbells is its own.
    pub(crate) fn new(id: ShardId, doorbells: Doorbells) -> io::Result<Self> {
        let own = doorbells.get(usize::from(id.0));
        Ok(Self {
            own: own.map(Arc::clone).ok_or(io::ErrorKind::NotFound)?,
            outgoing: doorbells.iter().map(|_| Outgoing::default()).collect(),
            untold: Vec::with_capacity(doorbells.len()),
            incoming: Vec::new(),
            next: 0,
            doorbells,
        })
    }

    /// What others ring when this shard has something to do, and sleeps.
    pub(crate) const fn doorbell(&self) -> &Arc<Doorbell> {
        &self.own
    }

    /// Writes data for another shard down; it is told before this one sleeps. `false` if there is no room.
    pub(crate) fn send(&mut self, to: &Handover, payload: &[u8], tos: u8) -> bool {
        let at = usize::from(to.shard.0);
        let (Some(outgoing), Some(doorbell), Ok(len)) = (
            self.outgoing.get_mut(at),
            self.doorbells.get(at),
            u16::try_from(payload.len()),
        ) else {
            return false;
        };
        let ring = outgoing.ring.get_or_insert_with(|| {
            let (ours, theirs) = RingBuffer::new(RING_BYTES);
            doorbell.hand_over(theirs);
            ours
        });
        let Ok(mut room) = ring.write_chunk(HEADER_LEN.saturating_add(payload.len())) else {
            return false;
        };
        let (first, second) = room.as_mut_slices();
        let (first, second) = fill(first, second, &header(to, len, tos));
        fill(first, second, payload);
        room.commit_all();
        if !outgoing.untold {
            outgoing.untold = true;
            self.untold.push(to.shard);
        }
        true
    }

    /// Wakes those of the shards written to that sleep.
    pub(crate) fn tell(&mut self) {
        while let Some(shard) = self.untold.pop() {
            let at = usize::from(shard.0);
            if let Some(outgoing) = self.outgoing.get_mut(at) {
                outgoing.untold = false;
            }
            if let Some(doorbell) = self.doorbells.get(at) {
                doorbell.ring();
            }
        }
    }

    /// To be called before each wait. `false` if there is something to be received, so that it must not wait. Either way
    /// [`wake_up`](Self::wake_up) comes next.
    pub(crate) fn fall_asleep(&mut self) -> bool {
        self.tell();
        self.own.sleeps.store(true, Ordering::Relaxed);
        // Pairs with the fence of `ring`.
        fence(Ordering::SeqCst);
        let has_new = self.own.has_new.load(Ordering::Relaxed);
        !has_new && self.incoming.iter().all(Consumer::is_empty)
    }

    /// To be called after each wait: from now on nobody needs to wake this shard.
    pub(crate) fn wake_up(&mut self) {
        self.own.sleeps.store(false, Ordering::Relaxed);
        if self.own.has_new.load(Ordering::Relaxed) {
            self.own.take_new(&mut self.incoming);
        }
        // Whoever came first in the last turn comes last in this one.
        let next = self.next.saturating_add(1);
        self.next = if next < self.incoming.len() { next } else { 0 };
    }

    /// Takes the next data into a slot, behind its headroom. `None` if there is none.
    #[inline]
    pub(crate) fn receive(&mut self, slot: &mut [u8]) -> Option<Arrival> {
        for _ in 0..self.incoming.len() {
            let ring = self.incoming.get_mut(self.next)?;
            if !ring.is_empty() {
                return take(ring, slot);
            }
            let next = self.next.saturating_add(1);
            self.next = if next < self.incoming.len() { next } else { 0 };
        }
        None
    }
}

/// Copies all of `bytes` to the start of the two slices, and returns what is left of them.
fn fill<'a>(
    first: &'a mut [u8],
    second: &'a mut [u8],
    bytes: &[u8],
) -> (&'a mut [u8], &'a mut [u8]) {
    let (start, end) = bytes.split_at(bytes.len().min(first.len()));
    let (to, first) = first.split_at_mut(start.len());
    to.copy_from_slice(start);
    let (to, second) = second.split_at_mut(end.len());
    to.copy_from_slice(end);
    (first, second)
}

/// What stands before a payload in a ring.
fn header(to: &Handover, len: u16, tos: u8) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut rest = &mut header[..];
    put(&mut rest, len.to_ne_bytes());
    put(&mut rest, to.relayed.index().to_ne_bytes());
    put(&mut rest, [tos]);
    put_address(&mut rest, to.local);
    put_address(&mut rest, to.source);
    header
}

fn put_address(rest: &mut &mut [u8], address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            put(rest, [4]);
            put(rest, ip.octets());
            put(rest, [0; 12]);
        }
        IpAddr::V6(ip) => {
            put(rest, [6]);
            put(rest, ip.octets());
        }
    }
    put(rest, address.port().to_ne_bytes());
}

fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((to, behind)) = mem::take(rest).split_first_chunk_mut() {
        *to = bytes;
        *rest = behind;
    }
}

/// Takes a record out of a ring that is not empty: they are written whole.
fn take(ring: &mut Consumer<u8>, slot: &mut [u8]) -> Option<Arrival> {
    let mut header = [0; HEADER_LEN];
    ring.pop_entire_slice(&mut header).ok()?;
    let mut rest = &header[..];
    let len = usize::from(u16::from_ne_bytes(next(&mut rest)?));
    let arrival = Arrival {
        relayed: RelayedId::from_index(u32::from_ne_bytes(next(&mut rest)?)),
        tos: u8::from_ne_bytes(next(&mut rest)?),
        local: next_address(&mut rest)?,
        source: next_address(&mut rest)?,
        len,
    };
    let payload = slot.get_mut(HEADROOM..HEADROOM.saturating_add(len))?;
    ring.pop_entire_slice(payload).ok()?;
    Some(arrival)
}

fn next_address(rest: &mut &[u8]) -> Option<SocketAddr> {
    let [family] = next(rest)?;
    let ip: [u8; 16] = next(rest)?;
    let port = u16::from_ne_bytes(next(rest)?);
    let ip = match (family, ip.first_chunk::<4>()) {
        (4, Some(&ip)) => IpAddr::from(ip),
        _ => IpAddr::from(ip),
    };
    Some(SocketAddr::new(ip, port))
}

fn next<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (&bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(bytes)
}

/// Some 200 datagrams of 1,200 bytes, or 1,200 of 160.
const RING_BYTES: usize = 256 << 10;
/// Length, number, TOS, and two addresses with family, IP address and port.
const HEADER_LEN: usize = 2 + 4 + 1 + 2 * (1 + 16 + 2);

#[cfg(test)]
mod tests;
