//! What clients and peers see of the relay, and what an attacker does not get: one file for each request and each promise.

use turnbuckle_testkit::CountingAllocator;

mod allocate;
mod alternate;
mod amplification;
mod bandwidth;
mod binding;
mod bundle;
mod channel_bind;
mod create_permission;
mod credentials;
mod data;
mod dont_fragment;
mod dual;
mod events;
mod expiry;
mod hairpin;
mod heap;
mod hostile;
mod icmp;
mod mobility;
mod nat_discovery;
mod nonce;
mod operator;
mod peers;
mod refresh;
mod reservation;
mod responses;
mod security_features;
mod services;
mod sessions;
mod snapshot;
mod strict_expiry;
mod tcp_relay;

/// Counts for each thread, so the tests that do not look at it are not disturbed.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
