//! Decoding, checking, framing and encoding do not allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use turnbuckle_proto::{
    ChannelData, Class, EncodeError, IndicationHeader, IntegrityKey, IntegrityKeySha256, Message,
    MessageBuilder, Method, TransactionId, channel_data, next_frame, rest,
};

#[test]
fn the_packet_path_does_not_allocate() {
    let sha1 = IntegrityKey::new(b"key");
    let sha256 = IntegrityKeySha256::new(b"key");
    let peer = "[2001:db8::1]:9".parse().unwrap();
    let id = TransactionId([1; 12]);

    let before = ALLOCATIONS.get();
    let mut buf = [0; 512];
    let mut builder = MessageBuilder::new(&mut buf, Class::Request, Method::ALLOCATE, id).unwrap();
    let built = (|| {
        builder
            .username("1700000000:alice")?
            .realm("example.org")?
            .nonce("nonce")?;
        builder
            .xor_peer_address(peer)?
            .data(b"data")?
            .error_code(400, "Bad Request")?;
        builder
            .integrity(&sha1)?
            .integrity_sha256(&sha256)?
            .fingerprint()?;
        Ok::<_, EncodeError>(())
    })();
    assert_eq!(built, Ok(()));
    let len = builder.finish();
    let message = Message::decode(&buf[..len]).unwrap();
    assert_eq!(sha1.verify(&message), Ok(()));
    assert_eq!(sha256.verify(&message), Ok(()));
    assert!(message.username().is_ok() && message.realm().is_ok() && message.error_code().is_ok());
    assert_eq!(message.peer_addresses().count(), 1);
    assert!(message.unknown_required(|_| false).len() > 1);
    black_box(next_frame(&buf[..len]));
    black_box(IndicationHeader::new(Method::DATA, id, peer, 99));
    black_box(ChannelData::decode(&channel_data::header(0x4000, 0)).is_ok());
    black_box(rest::parse("1700000000:alice", ':'));
    assert_eq!(ALLOCATIONS.get(), before);

    black_box(Box::new(1));
    assert_eq!(ALLOCATIONS.get(), before + 1, "the counter counts");
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: hands everything to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, so from the system allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;
