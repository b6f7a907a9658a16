//! Sockets and system calls of the packet path: UDP in batches, readiness, wake-ups, and what a
//! server asks the host once at start (limits, addresses, CPUs, who holds a port).
//!
//! Owns every `unsafe` block that talks to the kernel; everything exported is safe to call. Linux
//! only. It must not know a byte of STUN or TURN, read a clock, log, or keep state about peers.
//!
//! How a turn of the caller's loop looks:
//!
//! 1. [`Poll::wait`] fills [`Events`] (level triggered).
//! 2. [`UdpListener::receive`] takes a batch of datagrams into slots of the [`Arena`],
//!    [`RelaySocket::receive`] takes one.
//! 3. The caller decides, rewriting headers in place: each payload has [`HEADROOM`] bytes in front
//!    and [`TAILROOM`] bytes behind it.
//! 4. What goes out of the listener is queued in an [`Outbox`] and leaves in one system call; what goes
//!    out of a relay socket is gathered in a [`Train`]; datagrams that lie elsewhere leave by [`send_to`].
//!
//! None of these calls allocates once its arguments have been made, and none blocks except
//! [`Poll::wait`].
#![deny(unsafe_op_in_unsafe_fn)]

mod affinity;
mod arena;
mod buffers;
mod cmsg;
mod datagram;
mod dont_fragment;
mod icmp;
mod interfaces;
mod limits;
mod listener;
mod messages;
mod option;
mod outbox;
mod packet_info;
mod pending_error;
mod poll;
mod port_owner;
mod relay_socket;
mod segmentation;
mod send_report;
mod sockaddr;
mod traffic_class;
mod train;
mod unix_peer;
mod waker;

pub use affinity::{allowed_cpus, pin_current_thread, useful_parallelism};
pub use arena::{Arena, HEADROOM, Received, TAILROOM};
pub use datagram::send_to;
pub use icmp::IcmpError;
pub use interfaces::{Family, default_source, local_addresses, source_toward};
pub use limits::raise_descriptor_limit;
pub use listener::{ListenerOptions, UdpListener};
pub use outbox::{Front, Outbox, Transmit};
pub use poll::{Event, Events, Poll};
pub use port_owner::{PortOwner, Process, Transport, port_owner};
pub use relay_socket::{RelayOptions, RelaySocket};
pub use send_report::SendReport;
pub use train::{Piece, Train};
pub use unix_peer::UnixPeer;
pub use waker::Waker;
